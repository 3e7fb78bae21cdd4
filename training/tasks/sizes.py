"""Published numbers of rows that differ by language, as `config/split` of the data sets on the Hub."""

from training.tasks.languages import ISO3, PANX, TATOEBA, codes

_PANX_SMALL = dict.fromkeys(codes("af bn hi kk ml mr ms sw ta te tl ur"), 1000) | dict.fromkeys(codes("jv my yo"), 100)
PANX_SIZES = {f"{code}/test": _PANX_SMALL.get(code, 10000) for code in PANX} | {
    "en/train": 20000,
    "en/validation": 10000,
}
UDPOS_SIZES = {"udpos.English/train": 21253, "udpos.English/validation": 3974} | {
    f"udpos.{name}/test": count
    for name, count in (
        ("English", 5440),
        ("German", 22458),
        ("French", 9465),
        ("Tagalog", 55),
        ("Marathi", 47),
        ("Yoruba", 100),
    )
}
MLQA_SIZES = {
    f"MLQA.{code}.{code}/test": count
    for code, count in (
        ("en", 11590),
        ("de", 4517),
        ("es", 5253),
        ("ar", 5335),
        ("hi", 4918),
        ("vi", 5495),
        ("zh", 5137),
    )
}
_TATOEBA_SMALL = {"jv": 205, "te": 234, "ta": 307, "sw": 390, "th": 548, "kk": 575, "ml": 687, "ka": 746}
TATOEBA_SIZES = {f"tatoeba.{ISO3[code]}/validation": _TATOEBA_SMALL.get(code, 1000) for code in TATOEBA}
# By language: English train, and the dev set that XTREME tests on; the Hub has all languages in one split.
TYDIQA_SIZES = {"train": 49881, "validation": 5077, "en/train": 3696} | {
    f"{code}/validation": count
    for code, count in (
        ("ar", 921),
        ("bn", 113),
        ("en", 440),
        ("fi", 782),
        ("id", 565),
        ("ko", 276),
        ("ru", 812),
        ("sw", 499),
        ("te", 669),
    )
}
