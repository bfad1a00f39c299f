import json
from html.parser import HTMLParser

import pytest

from ratchet.evaluation import evaluate
from ratchet.model_card import card_facts, model_card

DIGEST = "ab" * 32
MANIFEST = {
    "as_of": "2024-05-21",
    "windows": {"train": ["2024-01-01", "2024-03-31"], "validate": ["2024-04-01", "2024-04-30"]},
    "rows": {"train": 105475, "validate": 28128},
    "left_out": {"no_outcome": 3, "no_label": 5480},
    "partitions": {"things": {"2024-01-01": [1, "d", "s1"], "2024-01-02": [2, "e", "s1"]}, "planes": {}},
}
GATE = {
    "verdict": "PROMOTE",
    "digest": "cd" * 32,
    "checks": [
        {
            "name": "minimum_quality",
            "passed": True,
            "value": 0.7531,
            "threshold": 0.6,
            "interval": [0.7244, 0.7819],
            "reason": "roc_auc 0.7531, surely above 0.7244",
        }
    ],
}
APPROVAL = {"answer": "Approve", "by": "approver", "at": "2024-05-22T10:11:12+00:00", "asked_by": ["operator"]}
HOSTILE = '<script>alert(1)</script> [x](javascript:alert(2)) =HYPERLINK("a") $\\frac{ | `c` \n# head & <img src=x>'


class Page(HTMLParser):
    """What a browser makes of a page: its tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.images, self.said = [], [], []
        self.feed(page)
        self.text = " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.images += [dict(attributes)["src"]] if tag == "img" else []
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data):
        self.said.append(data)


@pytest.fixture(scope="module")
def record(spec_of, rows_of, fitted):
    """As it comes back from where it was kept."""
    found = evaluate(fitted(), rows_of(), spec_of(), 0.4, model_bytes=1000)
    return json.loads(json.dumps(found.as_record()))


@pytest.fixture
def facts(spec_of):
    candidate = {"name": "boosting", "params": {"max_iter": 100}, "seed": 2013, "threshold": 0.4}
    digests = {"snapshot": DIGEST, "lock": "ef" * 32}
    return card_facts(
        spec_of(), MANIFEST, version=7, digests=digests, candidate=candidate, gate=GATE, approval=APPROVAL
    )


def without_pictures(record, **tables):
    return {**record, "pictures": {}, "tables": {**record["tables"], **tables}}


def test_the_card_says_what_is_on_record(facts, record):
    page, markdown = model_card(facts, {"validate": record})
    for text in (Page(page).text, markdown.replace("\\", "")):
        for said in (
            "lateness version 7",
            "planners",
            "anything else",
            "PROMOTE",
            "surely above 0.7244",
            "2024-05-22T10:11:12+00:00",
            "approver",
            "operator",
            DIGEST,
            "105,475",
            "no_label 5480",
            "max_iter 100",
            "seed" if text is markdown else "2013",
            "roc_auc at least 0.6",
        ):
            assert said in text, said
        assert "Missing on record" not in text and "ot approved yet" not in text
    assert json.loads(json.dumps(facts)) == facts


def test_every_number_of_the_evaluation_is_that_of_the_record(facts, record):
    """Another number on record, another on the card."""
    value = record["tables"]["performance"][0]["value"]
    assert f"{value:.4g}" in Page(model_card(facts, {"judge": record})[0]).text
    other = json.loads(json.dumps(record))
    other["tables"]["performance"][0]["value"] = 0.123456
    page, markdown = model_card(facts, {"judge": other})
    assert "0.1235" in Page(page).text and "0.1235" in markdown
    assert Page(page).text.count("Evaluation: judge") == 1


def test_all_pictures_are_shown_by_what_the_record_has_of_them(facts, record):
    page = Page(model_card(facts, {"validate": record})[0])
    assert sorted(page.images) == sorted(record["pictures"].values()) and len(page.images) == 7
    named = {**record, "pictures": {name: f"validate/{name}.png" for name in record["pictures"]}}
    html, markdown = model_card(facts, {"validate": named})
    assert "validate/shap.png" in Page(html).images and "](validate/shap.png)" in markdown
    assert "data:" not in model_card(facts, {"validate": record})[1]


@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere/x.png",
        "//elsewhere/x.png",
        "../../x.png",
        "javascript:alert(1)",
        'x.png" onerror="alert(1)',
        "data:image/svg+xml;base64,AAAA",
        "data:image/png;base64,AAAA\n",
        "x.png) [a](b",
    ],
)
def test_a_picture_from_elsewhere_is_not_shown(facts, record, address):
    html, markdown = model_card(facts, {"validate": {**record, "pictures": {"slices": address}}})
    page = Page(html)
    assert page.images == [] and "Its picture can't be shown" in page.text
    assert "![" not in markdown


def test_hostile_text_anywhere_is_shown_as_text(facts, record):
    def poisoned(thing):
        if isinstance(thing, dict):
            return {name: poisoned(value) for name, value in thing.items()}
        if isinstance(thing, list):
            return [poisoned(value) for value in thing]
        return HOSTILE if isinstance(thing, str) and thing else thing

    for poison in (
        {**poisoned(facts), "windows": {HOSTILE: facts["windows"]["train"]}, "digests": {HOSTILE: HOSTILE}},
        {**facts, "left_out": {HOSTILE: 1}, "data": [{"dataset": HOSTILE}], "candidate": {HOSTILE: {HOSTILE: HOSTILE}}},
    ):
        tables = poisoned(record["tables"])
        html, markdown = model_card(poison, {HOSTILE: without_pictures(record, **tables)})
        page = Page(html)
        assert "script" not in page.tags and page.images == []
        assert page.text.count("<script>alert(1)</script> [x](javascript:alert(2)) =HYPERLINK") > 5
        for line in markdown.splitlines():
            assert (not line.startswith(("# head", "<")) and "\\[x\\](javascript" in line) or "HYPERLINK" not in line
        assert "<script" not in markdown.replace("\\<", "") and "](javascript" not in markdown.replace("\\]", "")


def test_text_that_turns_the_reading_or_hides_is_shown_without_that(facts, record):
    sly = "ok\u202egnp.exe\u200b\u2066x\u2069\ufeff\x1b[31m"
    told = {**facts, "owner": sly, "approval": {**APPROVAL, "by": sly}, "left_out": {sly: 1}}
    tables = {"slices": [{"column": sly, "group": sly, "rows": 3, "note": "n"}]}
    for text in model_card(told, {sly: without_pictures(record, **tables)}):
        assert all(c.isprintable() or c == "\n" for c in text)
        assert text.replace("\\", "").count("ok gnp.exe x [31m") >= 6


def test_a_card_speaks_of_the_spec_of_its_training_and_says_where_today_s_differs(spec_of, facts, record):
    made = spec_of()
    today = made.model_copy(update={"problem": made.problem.model_copy(update={"intended_use": "anything at all"})})
    how = {"version": 7, "digests": {}, "candidate": {}}
    assert card_facts(made, MANIFEST, **how, today=spec_of())["changed_since"] == facts["changed_since"] == []
    for text in model_card(card_facts(made, MANIFEST, **how, today=today), {}):
        assert "anything at all" not in text and made.problem.intended_use in text
        assert "the spec has changed in: problem" in text.replace("\\", "")


def test_tables_stay_tables_in_markdown(facts, record):
    """A cell with a pipe or a line break opens no other cell."""
    tables = {"slices": [{"column": "a|b\n|c|", "group": "x\\|y", "rows": 3, "note": "too few"}]}
    markdown = model_card(facts, {"validate": without_pictures(record, **tables)})[1]
    line = next(line for line in markdown.splitlines() if "too few" in line)
    assert line.replace("\\\\", "").replace("\\|", "").count("|") == 5


def test_what_is_not_there_is_said(record):
    html, markdown = model_card({"model": "lateness", "version": 1}, {})
    for text in (Page(html).text, markdown):
        for said in ("not judged yet", "not approved yet", "not evaluated yet", "can't be rebuilt", "not on record"):
            assert said in text, said


def test_aspects_that_were_not_measured_say_why(facts, record):
    empty = without_pictures(record, slices=[], fairness=[], fairness_rates=[], reasons=[])
    empty["tables"].pop("value")
    text = Page(model_card(facts, {"validate": empty})[0]).text
    for said in ("evaluate.slices names no column", "evaluate.sensitive names no column", "evaluate.costs is not in"):
        assert said in text
    assert "no feature moves this model's scores" in text


def test_the_page_runs_nothing_and_loads_nothing(facts, record):
    html, _ = model_card(facts, {"validate": record, "judge": record})
    assert "default-src 'none'" in html and "http://" not in html and "https://" not in html
    assert {"script", "link", "iframe", "object"}.isdisjoint(Page(html).tags)
