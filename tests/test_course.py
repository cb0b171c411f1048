"What a learner meets: how soon, how much, and whether it shows something. `python tests/course.py` counts."
import re

import course
import figures
import pytest
from course import LESSONS, ROOT, cells, first_trained, front, is_code, is_plumbing, shows_picture, source, texts

each_lesson = pytest.mark.parametrize('f', LESSONS, ids=lambda f: f.stem)
TEXT = '\n'.join(map(texts, LESSONS))


def test_a_net_is_trained_soon():
    "From the top of lesson 1, all its cells included; and from the top of lesson 2."
    first, second, *_ = LESSONS
    assert first_trained(second) <= 6
    assert not any(map(course.trains, cells(first))), 'lesson 1 is about data alone'
    assert len(cells(first)) + first_trained(second) <= 40


def test_the_first_code_after_the_settings_is_the_three_lines():
    settings, three = [c for c in front(LESSONS[1]) if is_code(c) and not is_plumbing(c)][:2]
    assert 'lesson(' in source(settings)
    begins = 'data = ImageClassifierData', 'learn = ConvLearner.pretrained', 'learn.fit('
    lines = source(three).removeprefix('%%time\n').split('\n')
    assert len(lines) == 3 and all(line.startswith(words) for line, words in zip(lines, begins))


@each_lesson
def test_a_front_is_short_and_shows_something(f):
    "A hurried reader may stop after it."
    assert len(front(f)) <= 25
    shown = [c for c in front(f) if is_code(c) and not is_plumbing(c)]
    assert [source(c) for c in shown if not c['outputs']] == []
    assert '**You can stop here' in texts(f) or 'go on to [the three lines]' in texts(f)


@each_lesson
def test_a_lesson_shows_a_picture_soon(f):
    assert any(map(shows_picture, cells(f)[:10]))


@each_lesson
def test_exported_code_is_explained(f):
    "Each public name stands in the text of a lesson; of cells that have none, one of their other names."
    assert course.unexplained(f, TEXT) == []


@each_lesson
def test_two_predictions(f):
    assert len(re.findall(r'^\*\*Predict before you run\.\*\*', '\n'.join(map(source, front(f))), re.M)) >= 2


@each_lesson
def test_a_lesson_leads_to_its_exercises(f):
    assert f'](exercises/{f.name})' in texts(f)


# ---- what is explained once
EXPLAINED = {
    '**convolution**': '02_three_lines', '**ReLU**': '02_three_lines', '**Batch norm**': '02_three_lines',
    '**Dropout**': '02_three_lines', '**gradient**': '02_three_lines', '## What a learning rate is': '03_lr_finding',
}


@pytest.mark.parametrize('term', EXPLAINED)
def test_a_term_is_explained_once(term):
    "In bold, where it is explained; later lessons link there."
    assert [f.stem for f in LESSONS if term in texts(f)] == [EXPLAINED[term]]


# ---- diagrams
def test_diagrams_are_what_their_code_draws():
    drawn = {f.stem: f.read_text(encoding='utf-8') for f in (ROOT/'nbs'/'figures').glob('*.svg')}
    assert len(drawn) >= 14
    assert drawn == {name: figures.svg(name) for name in drawn}


def test_each_diagram_is_shown_with_its_description():
    pages = TEXT + texts(ROOT/'nbs'/'results.ipynb')
    shown = re.findall(r'!\[([^\]]*)\]\(figures/([\w-]+)\.svg\)', pages)
    assert {name for _, name in shown} == {f.stem for f in (ROOT/'nbs'/'figures').glob('*.svg')}
    assert [name for alt, name in shown if len(alt) < 40] == []
    assert len({name for _, name in shown}) == len(shown), 'each once'


@pytest.mark.parametrize('file', sorted((ROOT/'nbs'/'figures').glob('*.svg')), ids=lambda f: f.stem)
def test_a_diagram_can_be_read_on_a_phone_and_in_the_dark(file):
    "At most 420 units wide, letters of at least 12; its own background in both schemes; no script, no link."
    svg = file.read_text(encoding='utf-8')
    assert int(re.search(r'viewBox="0 0 (\d+) ', svg)[1]) <= 420
    sizes = re.findall(r'font(?:-size)?: ?(?:\w+ )?([\d.]+)px|font-size="([\d.]+)"', svg)
    assert sizes and min(float(a or b) for a, b in sizes) >= 12
    assert 'prefers-color-scheme:dark' in svg and '<title' in svg and '<desc' in svg
    assert not re.search(r'<script|href="[^#]|url\(http|<image', svg)
