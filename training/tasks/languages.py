"""The benchmarks' languages (XTREME; extra: what XTREME-R adds) and the names that data sets have for them."""

import re
from collections.abc import Mapping

_PAIR = re.compile(r"([a-z]{2,3})-([a-z]{2,3})")


def codes(text: str) -> tuple[str, ...]:
    """Words, as in `de en es`."""
    return tuple(text.split())


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in codes(text))


XNLI = codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
PAWSX = codes("de en es fr ja ko zh")
UDPOS = codes("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
UDPOS_EXTRA = codes("lt pl uk wo ro")
PANX = codes(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr"
    " ur vi yo zh"
)
PANX_EXTRA = codes("qu pl uk az lt pa gu ro")
XQUAD = codes("ar de el en es hi ru th tr vi zh")
BUCC = codes("de fr ru zh")
MEWSLIX = codes("ar de en es fa ja pl ro ta tr uk")
MLQA = codes("ar de en es hi vi zh")
MLQA_PAIRS = tuple(f"{context}-{question}" for context in MLQA for question in MLQA if context != question)
TICO19 = codes("ar bn es fa fr hi id mr pt ru tl ur zh")
EURLEX = codes("de fr hu")
TYDIQA = codes("ar bn en fi id ko ru sw te")
XFLICKRCO = codes("de en es id ja ru tr zh")
XCOPA = codes("et ht id it qu sw ta th tr vi zh")
TATOEBA = codes(
    "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"
)
TATOEBA_EXTRA = codes("az lt pl ro uk")
# What else LASER's data have (facebookresearch/LASER, data/tatoeba/v1: 112 languages): by two letters where ISO 639-1
# has some for the language or for the one that it is the standard of (lvs, zsm).
TATOEBA_OTHERS = codes(
    "am be br bs ca ch cs cy da eo fo fy ga gd gl hr hy ia ie io is km ku kw la lv mk mn ms nb nn oc sk sl sq sr sv tk"
    " tt ug uz xh yi"
    " ang arq arz ast awa ber cbk ceb csb dsb dtp gsw hsb kab kzj lfn max mhr nds nov orv pam pms swg tzl war wuu yue"
)
# The names that Tatoeba's files have for languages; what is not here is called the same.
ISO3 = _pairs(
    "af:afr am:amh ar:ara az:aze be:bel bg:bul bn:ben br:bre bs:bos ca:cat ch:cha cs:ces cy:cym da:dan de:deu el:ell"
    " eo:epo es:spa et:est eu:eus fa:pes fi:fin fo:fao fr:fra fy:fry ga:gle gd:gla gl:glg he:heb hi:hin hr:hrv hu:hun"
    " hy:hye ia:ina id:ind ie:ile io:ido is:isl it:ita ja:jpn jv:jav ka:kat kk:kaz km:khm ko:kor ku:kur kw:cor la:lat"
    " lt:lit lv:lvs mk:mkd ml:mal mn:mon mr:mar ms:zsm nb:nob nl:nld nn:nno oc:oci pl:pol pt:por ro:ron ru:rus sk:slk"
    " sl:slv sq:sqi sr:srp sv:swe sw:swh ta:tam te:tel th:tha tk:tuk tl:tgl tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzb"
    " vi:vie xh:xho yi:yid zh:cmn"
)

UD_NAMES = _pairs(
    "af:Afrikaans ar:Arabic bg:Bulgarian de:German el:Greek en:English es:Spanish et:Estonian eu:Basque fa:Persian"
    " fi:Finnish fr:French he:Hebrew hi:Hindi hu:Hungarian id:Indonesian it:Italian ja:Japanese kk:Kazakh ko:Korean"
    " mr:Marathi nl:Dutch pt:Portuguese ru:Russian ta:Tamil te:Telugu th:Thai tl:Tagalog tr:Turkish ur:Urdu"
    " vi:Vietnamese yo:Yoruba zh:Chinese"
)
TYDI_NAMES = _pairs(
    "ar:arabic bn:bengali en:english fi:finnish id:indonesian ko:korean ru:russian sw:swahili te:telugu"
)


def fill(template: str, language: str, iso3: Mapping[str, str]) -> str:
    """`template` with the language's code for `{lang}` and its ISO 639-3 code for `{iso3}`.

    Of a pair such as `de-en` (MLQA: German context, English question), the first goes to the first of two places and
    the second to the second; a template with one place gets the pair as it is written.
    """
    pair = _PAIR.fullmatch(language)
    for place, names in (("{lang}", {}), ("{iso3}", iso3)):
        if pair and template.count(place) == 2:
            for code in pair.groups():
                template = template.replace(place, names.get(code, code), 1)
        template = template.replace(place, names.get(language, language))
    return template
