"""How far the estimate of tokens is from what tokenizers count, by language, on texts of the project's own."""

from __future__ import annotations

from inspect import getsource

from innkeeper.knowledge.tokens.bpe import ENCODINGS
from innkeeper.knowledge.tokens.estimate import Estimate
from innkeeper.knowledge.tokens.named import counter

from .table import show

TEXTS = {
    "English": (
        "The ferry leaves at six, when the fog still lies on the water and nobody can see the other bank. Marta has "
        "rowed it for thirty years; she knows the current by its sound. Travellers pay her in copper, in bread, or in "
        "news, and of the three she likes news best. Nobody may whistle on board.",
        "Below the old lighthouse there is a door that opens only at the lowest tide of the year. The keepers wrote "
        "its date into the log, 214 times in all, and never once what lay behind it. The last entry reads: 'It is "
        "smaller than I thought.' After that the pages are empty.",
        "To brew the red tincture, crush 3 parts of emberroot with 1 part of salt, cover with spirit and keep it in "
        "the dark for nine days. Strain it through linen. A spoonful warms a grown man for a night; two make him "
        "sleep; the guild forbids a third, and sells no more than 40 ml to anyone.",
    ),
    "Chinese": (
        "渡船清晨六点出发，那时雾还贴在水面上，谁也看不见对岸。玛尔塔摇了三十年的橹，听水声就知道流向。"
        "旅人付给她铜钱、面包或者消息，三样里她最喜欢消息。船上不许吹口哨。",
        "旧灯塔下面有一扇门，只在一年中潮水最低的那天打开。历代守塔人把日期记在航海日志里，一共二百一十四次，"
        "却从没写过门后是什么。最后一行写着：“比我想的要小。”后面的纸都是空白的。",
        "熬制赤酊：取烬根三份、盐一份，捣碎后以烈酒浸没，避光存放九日，再用麻布滤净。一匙可使成年人整夜不觉寒冷，"
        "两匙令人沉睡；行会禁止第三匙，每人最多只卖40毫升。",
    ),
    "Japanese": (
        "渡し船は朝の六時に出る。そのころはまだ霧が水の上に残っていて、向こう岸は見えない。マルタは三十年も櫓を"
        "漕いできたので、音だけで流れがわかる。旅人は銅貨かパンか噂話で払うが、彼女は噂話がいちばん好きだ。",
        "古い灯台の下には、一年でいちばん潮が引く日にだけ開く扉がある。灯台守たちはその日付を二百十四回も日誌に"
        "書きとめたが、扉の奥に何があるかは一度も書かなかった。最後の行には「思ったより小さい」とある。",
        "赤いチンキを作るには、エンバールート三に対して塩一を砕き、酒に浸して九日のあいだ暗い場所に置く。"
        "それから麻布でこす。ひとさじで一晩あたたかく、ふたさじで眠り込み、三さじ目はギルドが禁じている。",
    ),
    "Korean": (
        "나룻배는 아침 여섯 시에 떠난다. 그때는 아직 안개가 물 위에 남아 있어서 건너편이 보이지 않는다. 마르타는 "
        "삼십 년 동안 노를 저어 왔기 때문에 소리만 듣고도 물살을 안다. 손님은 동전이나 빵, 소식으로 값을 치른다.",
        "오래된 등대 아래에는 일 년 중 물이 가장 많이 빠지는 날에만 열리는 문이 있다. 등대지기들은 그 날짜를 "
        "이백열네 번이나 일지에 적었지만 문 뒤에 무엇이 있는지는 한 번도 쓰지 않았다.",
        "붉은 약을 만들려면 불뿌리 세 몫과 소금 한 몫을 빻아 술에 담그고 아흐레 동안 어두운 곳에 둔다. 그다음 "
        "삼베로 거른다. 한 숟갈이면 밤새 춥지 않고 두 숟갈이면 깊이 잠들며, 세 번째는 조합이 금지한다.",
    ),
    "Russian": (
        "Паром уходит в шесть утра, когда туман ещё лежит на воде и другого берега не видно. Марта водит его тридцать "
        "лет и узнаёт течение по звуку. Путники платят ей медью, хлебом или новостями, и новости она любит больше "
        "всего. Свистеть на борту нельзя.",
        "Под старым маяком есть дверь, которая открывается только в самый низкий отлив года. Смотрители записали эту "
        "дату в журнал 214 раз, но ни разу не написали, что за ней. Последняя запись гласит: «Она меньше, чем думал».",
        "Чтобы приготовить красную настойку, растолките три части углекорня с одной частью соли, залейте спиртом и "
        "держите в темноте девять дней, затем процедите через полотно. Ложка согревает на всю ночь, две усыпляют.",
    ),
    "German": (
        "Die Fähre legt um sechs Uhr ab, wenn der Nebel noch auf dem Wasser liegt und niemand das andere Ufer sieht. "
        "Marta rudert sie seit dreißig Jahren; sie erkennt die Strömung am Geräusch. Reisende zahlen mit Kupfer, mit "
        "Brot oder mit Neuigkeiten.",
        "Unter dem alten Leuchtturm gibt es eine Tür, die sich nur bei der niedrigsten Ebbe des Jahres öffnet. Die "
        "Wärter haben das Datum 214-mal ins Logbuch geschrieben und nie, was dahinter liegt.",
    ),
    "code": (getsource(counter), getsource(Estimate), getsource(show)),
}
"""Passages by language, written for the project; code is its own."""


def errors(language: str, encoding: str) -> tuple[float, float]:
    """How far the estimate is off for a language.

    Args:
        language: a key of `TEXTS`.
        encoding: one of `ENCODINGS`.

    Returns:
        the mean over its texts of the absolute error as a share of the true count; and the sum of the estimates as a
        multiple of the sum of the true counts.

    Raises:
        UsageError: the extra `tokens` is not installed.
    """
    exact, estimate = counter(encoding), counter()
    true = [exact.count(text) for text in TEXTS[language]]
    found = [estimate.count(text) for text in TEXTS[language]]
    off = [abs(each - right) / right for each, right in zip(found, true, strict=True)]
    return sum(off) / len(off), sum(found) / sum(true)


def main() -> None:
    """Prints the errors as a table."""
    rows = []
    for language in TEXTS:
        row = [language]
        for encoding in ENCODINGS:
            mean, ratio = errors(language, encoding)
            row += [f"{mean:.0%}", f"{ratio:.2f}"]
        rows.append(row)
    heads = [f"{name}, {what}" for name in ENCODINGS for what in ("mean error", "sum")]
    show("tokens: how far the estimate is off", ["text", *heads], rows)
