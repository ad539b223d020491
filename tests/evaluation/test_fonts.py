import logging

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from hf_rnn_multilabel.evaluation.fonts import BASE_FONT, fonts_for


def make_font(path, family, characters):
    """A font in which each of the characters is a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(character):04X}" for character in characters)]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs made fonts beside Matplotlib's own, for one test."""
    own = [font for font in font_manager.fontManager.ttflist if font.name == BASE_FONT]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)

    def install_font(family, characters):
        font_manager.fontManager.addfont(make_font(tmp_path / f"{family}.ttf", family, characters))

    return install_font


def test_latin_names_need_no_font_but_the_one_that_matplotlib_has(install, caplog):
    install("Noto Sans CJK SC", "快乐")
    assert fonts_for(["joy", "Ärger", "радость"]) == [BASE_FONT]
    assert not caplog.records


def test_fault_17_an_installed_font_that_has_the_characters_is_chosen(install, caplog):
    install("A Font of Signs", "⿊")
    install("Some Font", "快乐")
    assert fonts_for(["joy", "快乐"]) == [BASE_FONT, "Some Font"]
    assert not caplog.records


def test_fonts_are_added_until_all_characters_are_there_and_noto_is_asked_first(install, caplog):
    install("Another Font", "快乐悲")
    install("Noto Sans Two", "快乐")
    assert fonts_for(["快乐", "悲"]) == [BASE_FONT, "Noto Sans Two", "Another Font"]
    assert not caplog.records


def test_fault_17_characters_that_no_font_has_are_named_in_one_line(install, caplog):
    install("Some Font", "快")
    with caplog.at_level(logging.WARNING):
        assert fonts_for(["快乐", "悲伤"]) == [BASE_FONT, "Some Font"]
    (record,) = caplog.records
    assert record.message.startswith("No installed font has 3 characters of the label names (乐伤悲), ")


def test_fault_17_nothing_else_is_logged_while_all_fonts_are_searched(caplog):
    with caplog.at_level(logging.INFO):
        fonts_for(["\U00050000"])
    assert len(caplog.records) == 1


def test_a_long_list_of_missing_characters_is_shortened(install, caplog):
    fonts_for(chr(0x4E00 + index) for index in range(300))
    (record,) = caplog.records
    assert "300 characters" in record.message and "…" in record.message and len(record.message) < 250


def test_a_font_file_that_is_damaged_is_passed_over(install, tmp_path):
    install("Some Font", "快")
    (tmp_path / "Some Font.ttf").write_bytes(b"no font")
    font_manager._get_font.cache_clear()
    assert fonts_for(["快"]) == [BASE_FONT]
