"""Words and sentence patterns of the sample data, parallel over languages: the n-th entry means the same everywhere.

`[a|b]` in a pattern is `a` for a man and `b` for a woman. Forms that a grammar would derive (Russian and Finnish
genitives, Russian prepositionals) are written out.
"""

LANGUAGES = {"en": "eng", "de": "deu", "es": "spa", "ru": "rus", "zh": "cmn", "ar": "ara", "hi": "hin"}
QA_LANGUAGES = ("en", "ar", "fi", "id", "ru")  # TyDiQA has no other of ours
Table = dict[str, tuple[str, ...]]


def _split(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator))


def _table(separator: str | None = None, **rows: str) -> Table:
    return {language: _split(row, separator) for language, row in rows.items()}


# --- people, places, companies: named entities ------------------------------------------------------------------------

PEOPLE = _table(
    en="Anna Maria Sara Lena Omar Peter Ivan David",
    ru="Анна Мария Сара Лена Омар Питер Иван Давид",
    zh="安娜 玛丽亚 萨拉 莉娜 奥马尔 彼得 伊万 大卫",
    ar="آنا ماريا سارة لينا عمر بيتر إيفان ديفيد",
    hi="अन्ना मारिया सारा लीना उमर पीटर इवान डेविड",
)
PEOPLE |= dict.fromkeys(("de", "es", "fi", "id"), PEOPLE["en"])
WOMEN = 4  # the first ones
OF_PEOPLE = PEOPLE | _table(
    ru="Анны Марии Сары Лены Омара Питера Ивана Давида",
    fi="Annan Marian Saran Lenan Omarin Peterin Ivanin Davidin",
)
SURNAMES = _table(
    en="Weber Kumar Garcia Lopez",
    es="Weber Kumar García López",
    ru="Вебер Кумар Гарсия Лопес",
    zh="韦伯 库马尔 加西亚 洛佩斯",
    ar="ويبر كومار غارسيا لوبيز",
    hi="वेबर कुमार गार्सिया लोपेज़",
)
SURNAMES |= {"de": SURNAMES["en"]}
CITIES = _table(
    ",",
    en="Paris, Berlin, Moscow, Cairo, Delhi, Madrid, London, Beijing",
    de="Paris, Berlin, Moskau, Kairo, Delhi, Madrid, London, Peking",
    es="París, Berlín, Moscú, El Cairo, Delhi, Madrid, Londres, Pekín",
    ru="Париж, Берлин, Москва, Каир, Дели, Мадрид, Лондон, Пекин",
    zh="巴黎, 柏林, 莫斯科, 开罗, 德里, 马德里, 伦敦, 北京",
    ar="باريس, برلين, موسكو, القاهرة, دلهي, مدريد, لندن, بكين",
    hi="पेरिस, बर्लिन, मॉस्को, काहिरा, दिल्ली, मैड्रिड, लंदन, बीजिंग",
    fi="Pariisi, Berliini, Moskova, Kairo, Delhi, Madrid, Lontoo, Peking",
    id="Paris, Berlin, Moskwa, Kairo, Delhi, Madrid, London, Beijing",
)
IN_CITIES = CITIES | _table(ru="Париже Берлине Москве Каире Дели Мадриде Лондоне Пекине")
COMPANIES = _table(
    ",",
    en="Nova Bank, Radio Orion, Delta Film, Alpha Motors, Lotus Club",
    de="Nova Bank, Radio Orion, Delta Film, Alpha Motors, Lotus Club",
    es="Banco Nova, Radio Orión, Delta Film, Alpha Motors, Club Lotus",
    ru="Нова Банк, Радио Орион, Дельта Фильм, Альфа Моторс, Клуб Лотос",
    zh="诺瓦银行, 猎户座电台, 德尔塔电影, 阿尔法汽车, 莲花俱乐部",
    ar="بنك نوفا, راديو أوريون, دلتا فيلم, ألفا موتورز, نادي اللوتس",
    hi="नोवा बैंक, रेडियो ओरियन, डेल्टा फ़िल्म, अल्फ़ा मोटर्स, लोटस क्लब",
)
# Sentences with named entities, split into words. IN: the city as it stands after "in" and "about".
ENTITY_SENTENCES = _table(
    "/",
    en="PER lives in IN . / PER works for ORG . / ORG has an office in IN . / PER no longer works for ORG ."
    " / LOC is a large city . / Today PER is speaking about IN .",
    de="PER wohnt in IN . / PER arbeitet für ORG . / ORG hat ein Büro in IN . / PER arbeitet nicht mehr für ORG ."
    " / LOC ist eine große Stadt . / Heute spricht PER über IN .",
    es="PER vive en IN . / PER trabaja para ORG . / ORG tiene una oficina en IN . / PER ya no trabaja para ORG ."
    " / LOC es una ciudad grande . / Hoy PER habla de IN .",
    ru="PER живёт в IN . / PER работает в компании ORG . / ORG имеет офис в IN ."
    " / PER больше не работает в компании ORG . / LOC — большой город . / Сегодня PER говорит о IN .",
    zh="PER 住在 IN 。 / PER 为 ORG 工作 。 / ORG 在 IN 有一个办事处 。 / PER 不再为 ORG 工作 。"
    " / LOC 是一座大城市 。 / 今天 PER 在谈论 IN 。",
    ar="[يسكن|تسكن] PER في IN . / [يعمل|تعمل] PER في ORG . / لدى ORG مكتب في IN ."
    " / لم [يعد|تعد] PER [يعمل|تعمل] في ORG . / LOC مدينة كبيرة . / [يتحدث|تتحدث] PER اليوم عن IN .",
    hi="PER IN में [रहता|रहती] है । / PER ORG में काम [करता|करती] है । / ORG का IN में एक दफ़्तर है ।"
    " / PER अब ORG में काम नहीं [करता|करती] । / LOC एक बड़ा शहर है । / PER आज IN के बारे में बोल [रहा|रही] है ।",
)
# --- who does what where: inference and translation -------------------------------------------------------------------

SUBJECTS = _table(
    ",",
    en="The man, The woman, The boy, The girl, The teacher, The farmer",
    de="Der Mann, Die Frau, Der Junge, Das Mädchen, Der Lehrer, Der Bauer",
    es="El hombre, La mujer, El niño, La niña, El profesor, El granjero",
    ru="Мужчина, Женщина, Мальчик, Девочка, Учитель, Фермер",
    zh="男人, 女人, 男孩, 女孩, 老师, 农民",
    ar="الرجل, المرأة, الولد, الفتاة, المعلم, المزارع",
    hi="आदमी, औरत, लड़का, लड़की, शिक्षक, किसान",
)
FEMALE_SUBJECTS = (1, 3)
ACTIONS = _table(
    ",",
    en="is sleeping, is reading a book, is drinking coffee, is eating an apple, is singing a song, is writing a letter",
    de="schläft, liest ein Buch, trinkt Kaffee, isst einen Apfel, singt ein Lied, schreibt einen Brief",
    es="está durmiendo, está leyendo un libro, está tomando café, está comiendo una manzana, está cantando una canción,"
    " está escribiendo una carta",
    ru="спит, читает книгу, пьёт кофе, ест яблоко, поёт песню, пишет письмо",
    zh="睡觉, 看书, 喝咖啡, 吃苹果, 唱歌, 写信",
    ar="[ينام|تنام], [يقرأ|تقرأ] كتابا, [يشرب|تشرب] القهوة, [يأكل|تأكل] تفاحة, [يغني|تغني] أغنية, [يكتب|تكتب] رسالة",
    hi="सो [रहा|रही] है, किताब पढ़ [रहा|रही] है, कॉफ़ी पी [रहा|रही] है, सेब खा [रहा|रही] है, गाना गा [रहा|रही] है,"
    " चिट्ठी लिख [रहा|रही] है",
)
SLEEPING = 0  # excludes every other action
PLACES = _table(
    ",",
    en="in the kitchen, in the garden, at school, in the park, in the library",
    de="in der Küche, im Garten, in der Schule, im Park, in der Bibliothek",
    es="en la cocina, en el jardín, en la escuela, en el parque, en la biblioteca",
    ru="на кухне, в саду, в школе, в парке, в библиотеке",
    zh="厨房里, 花园里, 学校里, 公园里, 图书馆里",
    ar="في المطبخ, في البستان, في المدرسة, في الحديقة, في المكتبة",
    hi="रसोई में, बगीचे में, स्कूल में, पार्क में, पुस्तकालय में",
)
REMARKS = _table(  # that nothing follows from and that follow from nothing
    ",",
    en="is tired, lives in London, speaks French, is happy",
    de="ist müde, wohnt in London, spricht Französisch, ist glücklich",
    es="está [cansado|cansada], vive en Londres, habla francés, está [contento|contenta]",
    ru="[устал|устала], живёт в Лондоне, говорит по-французски, [счастлив|счастлива]",
    zh="很累, 住在伦敦, 会说法语, 很高兴",
    ar="[متعب|متعبة], [يسكن|تسكن] في لندن, [يتحدث|تتحدث] الفرنسية, [سعيد|سعيدة]",
    hi="[थका हुआ|थकी हुई] है, लंदन में [रहता|रहती] है, फ़्रेंच [बोलता|बोलती] है, खुश है",
)
_SPACED = ("{subject} {action} {place}.", "{subject} {action}.", "{subject} %s {place}.", "{subject} {remark}.")
CLAUSES: Table = {  # action and place, action, place, remark
    language: tuple(pattern.replace("%s", link) for pattern in _SPACED)
    for language, link in {"en": "is", "de": "ist", "es": "está", "ru": "сейчас", "ar": "الآن"}.items()
} | {
    "zh": ("{subject}在{place}{action}。", "{subject}在{action}。", "{subject}在{place}。", "{subject}{remark}。"),
    "hi": ("{subject} {place} {action}।", "{subject} {action}।", "{subject} {place} है।", "{subject} {remark}।"),
}
# --- facts about people: question answering ---------------------------------------------------------------------------

DRINKS = _table(
    en="tea coffee milk juice water",
    ar="الشاي القهوة الحليب العصير الماء",
    fi="tee kahvi maito mehu vesi",
    id="teh kopi susu jus air",
    ru="чай кофе молоко сок вода",
)
PETS = _table(
    ",",
    en="dog, cat, horse, rabbit, parrot",
    ar="كلب, قط, حصان, أرنب, ببغاء",
    fi="koira, kissa, hevonen, kani, papukaija",
    id="anjing, kucing, kuda, kelinci, burung beo",
    ru="собака, кошка, лошадь, кролик, попугай",
)
YEARS = tuple(map(str, range(1951, 2000)))
# Per kind of fact (city, year, drink, pet): a sentence with VALUE, and a question. PERSON: the name; OF: its genitive.
FACTS: dict[str, tuple[tuple[str, str], ...]] = {
    "en": (
        ("PERSON lives in VALUE.", "Where does PERSON live?"),
        ("PERSON was born in VALUE.", "When was PERSON born?"),
        ("The favourite drink of OF is VALUE.", "What is the favourite drink of OF?"),
        ("The pet of OF is a VALUE.", "Which animal does PERSON have?"),
    ),
    "ar": (
        ("[يسكن|تسكن] PERSON في مدينة VALUE.", "في أي مدينة [يسكن|تسكن] PERSON؟"),
        ("سنة ميلاد OF هي VALUE.", "ما هي سنة ميلاد OF؟"),
        ("المشروب المفضل لدى PERSON هو VALUE.", "ما هو المشروب المفضل لدى PERSON؟"),
        ("حيوان OF الأليف هو VALUE.", "ما هو حيوان OF الأليف؟"),
    ),
    "fi": (
        ("OF kotikaupunki on VALUE.", "Mikä on OF kotikaupunki?"),
        ("OF syntymävuosi on VALUE.", "Mikä on OF syntymävuosi?"),
        ("OF lempijuoma on VALUE.", "Mikä on OF lempijuoma?"),
        ("OF lemmikki on VALUE.", "Mikä on OF lemmikki?"),
    ),
    "id": (
        ("PERSON tinggal di VALUE.", "Di mana PERSON tinggal?"),
        ("PERSON lahir pada tahun VALUE.", "Kapan PERSON lahir?"),
        ("Minuman favorit OF adalah VALUE.", "Apa minuman favorit OF?"),
        ("Hewan peliharaan OF adalah VALUE.", "Apa hewan peliharaan OF?"),
    ),
    "ru": (
        ("PERSON живёт в городе VALUE.", "В каком городе живёт PERSON?"),
        ("Год рождения OF — VALUE.", "Какой год рождения у OF?"),
        ("Любимый напиток OF — VALUE.", "Какой любимый напиток у OF?"),
        ("Домашнее животное OF — VALUE.", "Какое домашнее животное у OF?"),
    ),
}
SQUAD_FACTS = (  # the same kinds in other words, for the intermediate task
    ("The home of OF is in VALUE.", "In which city is the home of OF?"),
    ("PERSON came into the world in VALUE.", "In what year did PERSON come into the world?"),
    ("PERSON likes to drink VALUE.", "What does PERSON like to drink?"),
    ("PERSON keeps a VALUE at home.", "What animal does PERSON keep?"),
)
# --- what happens next: multiple choice -------------------------------------------------------------------------------

DAYS = ("On Monday", "On Tuesday", "On Wednesday", "On Thursday", "On Friday")
ACTIVITIES = (  # label, beginning, right ending
    ("Making tea", "puts the kettle on the stove and waits.", "pours the hot water over the tea leaves."),
    ("Washing a car", "fills a bucket with soapy water in front of the garage.", "rubs the car with a sponge."),
    ("Playing chess", "looks at the board for a long time.", "moves the white queen."),
    ("Riding a bicycle", "puts on a helmet and pumps up the tyres.", "rides down the road on the bicycle."),
    ("Baking a cake", "mixes flour, eggs and sugar in a bowl.", "puts the cake into the oven."),
    ("Painting", "sets up a canvas and opens the tubes of colour.", "dips the brush into the paint."),
    ("Fishing", "sits down at the lake with a rod.", "pulls a fish out of the water."),
    ("Playing the piano", "opens the lid and sits down in front of the keys.", "plays a slow melody."),
    ("Planting a tree", "digs a deep hole in the lawn.", "sets the young tree into the earth."),
    ("Brushing teeth", "squeezes some paste onto the toothbrush.", "brushes the teeth for two minutes."),
    ("Skiing", "takes the lift up the snowy mountain.", "glides down the slope on two skis."),
    ("Sewing", "threads a needle and picks up the torn shirt.", "sews the button back on."),
    ("Cutting hair", "combs the wet hair of a customer.", "cuts off the ends with scissors."),
    ("Taking a photograph", "sets the camera on a tripod.", "presses the shutter and takes a picture."),
    ("Swimming", "stands at the edge of the pool.", "jumps in and swims to the other side."),
    ("Lighting a fire", "piles up dry wood between some stones.", "holds a burning match to the wood."),
)
