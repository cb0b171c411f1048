"""Live figures: they answer in JupyterLab, in a notebook that is opened again without a kernel, and on a plain page;
widgets leave a note behind, and what was chosen with them stays."""
import base64
import io
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from browsing import MINUTE, loaded
from imgcourse.inside import kernels, slide
from imgcourse.live import frames, kernel_grid, pick_picture, rate_figure
from imgcourse.playground import Playground
from PIL import Image

e2e = pytest.mark.e2e


def figures(n, size=(3, 2)):
    "Each is closed when the next is drawn."
    for k in range(n):
        fig, ax = plt.subplots(figsize=size)
        ax.plot([0, k])
        yield fig


def stripes(width, height):
    return Image.fromarray(np.tile(np.arange(width)*37 % 256, (height, 1)).astype(np.uint8))


def pictures(html):
    "Those of a figure that are seen without scripts."
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def alts(html):
    return re.findall(r'<img [^>]*alt="([^"]*)"', html)


def sums_of(picture, kernel):
    "How the sums are to be drawn: black where they are -1, gray at 0, white at 1."
    sums = slide(torch.from_numpy(np.asarray(picture)/255), torch.tensor(kernel))
    return ((sums + 1)*127.5).clip(0, 255).numpy()


@pytest.fixture
def html(monkeypatch):
    "A function that says what a live figure shows, as HTML."
    shown = []
    monkeypatch.setattr('IPython.display.display', shown.append)

    def html_of(function, *args):
        function(*args)
        return shown.pop().data

    return html_of


# ---- what is in the HTML
def test_frames_are_sharp_and_all_there(html):
    plt.close('all') # another test's
    html = html(frames, figures(4), ['one', 'two', 'three', 'four'], 'A line')
    still, = pictures(html)
    assert still.size == (600, 400) and 'width: 300px' in html, 'two dots for each pixel of the page'
    assert alts(html) == ['A line: four']
    others = re.findall(r'"data:image/webp;base64,([^"]+)"', html.split('<script>')[1])
    assert len({*others}) == 3 and all(title in html for title in ('one', 'two', 'three'))
    assert not plt.get_fignums(), 'the notebook would show them once more'


def test_same_figure_is_same_html(html):
    "A notebook that is run again does not change."
    assert html(frames, figures(2)) == html(frames, figures(2)) != html(frames, figures(3))


def test_nothing_is_taken_for_math_or_markdown(html):
    html = html(frames, figures(2), ['costs $5', '$6 </script> `or` $7'])
    script = html.split('<script>')[1]
    assert not re.search('[$`]', script) and script.count('</script>') == 1
    assert 'mathjax_ignore' in html and '$6 &lt;/script&gt; `or` $7' in html


def test_frames_of_the_playground_are_small(html):
    play = Playground('circles')
    def steps():
        for _ in range(9):
            play.step(22)
            yield play.figure()
    assert len(html(frames, steps())) < 600_000


@pytest.mark.parametrize('figures, titles, words', [
    ([], (), 'at least one figure'),
    ([3], (), 'figures of matplotlib, .*, not int'),
    (figures(2), ['one'], '2 figures and 1 titles'),
])
def test_frames_that_cannot_be(figures, titles, words):
    with pytest.raises(ValueError, match=words):
        frames(figures, titles)


@pytest.mark.parametrize('lr, words', [
    (.01, 'the loss goes from 16 to 12. It creeps.'),
    (.3, 'It arrives.'),
    (.5, 'the loss goes from 16 to 0. It arrives.'),
    (.9, 'It jumps across the valley and back, and comes nearer.'),
    (1, 'the loss goes from 16 to 16. It jumps from side to side and comes no nearer.'),
    (1.05, 'it diverges.'),
    (.123, 'learning rate 0.123: in 8 steps'), # none of the slider's own
])
def test_rate_figure_says_how_the_weight_fares(html, lr, words):
    alt, = alts(html(rate_figure, lr))
    assert f'learning rate {lr:g}:' in alt and words in alt


@pytest.mark.parametrize('lr, steps, words', [(2, 8, 'from a learning rate of 0.01 to 1.2'), (.1, 0, 'at least 1')])
def test_rate_figure_that_cannot_be(lr, steps, words):
    with pytest.raises(ValueError, match=words):
        rate_figure(lr, steps)


@pytest.mark.parametrize('kernel, nine', [
    ('outline', kernels['outline']),
    ([[2, 1, 0], [1, 0, -1], [0, -1, -2]], [[2, 1, 0], [1, 0, -1], [0, -1, -2]]),
])
def test_kernel_grid_without_scripts(html, kernel, nine):
    html = html(kernel_grid, stripes(40, 30).convert('RGBA'), kernel, kernels)
    left, right = pictures(html)
    assert left.size == (40, 30) and np.abs(np.asarray(right) - sums_of(left, nine)).max() < .51
    assert re.findall('<span>(.*?)</span>', html) == [f'{v:.3g}' for row in nine for v in row]


def test_kernel_grid_of_a_large_picture(html):
    left, right = pictures(html(kernel_grid, stripes(1600, 900), 'blur', kernels))
    assert left.size == (160, 90) and right.size == (158, 88)


@pytest.mark.parametrize('picture, kernel, kernels, words', [
    (np.zeros((9, 9)), 'blur', kernels, 'takes a Pillow picture'),
    (stripes(2, 9), 'blur', kernels, 'at least 3 × 3 pixels, not 2 × 9'),
    (stripes(9, 9), 'sharp', kernels, "no kernel 'sharp'; there are nothing, blur"),
    (stripes(9, 9), 'blur', None, "no kernel 'blur'; there are none by name"),
    (stripes(9, 9), [[1, 2], [3, 4]], kernels, 'three lists of three numbers'),
    (stripes(9, 9), 'a', {'a': [['x']*3]*3}, 'three lists of three numbers'),
])
def test_kernel_grid_that_cannot_be(picture, kernel, kernels, words):
    with pytest.raises(ValueError, match=words):
        kernel_grid(picture, kernel, kernels)


def test_pick_picture_in_a_program(capsys):
    pick_picture(print, "learn.ask('cat.jpg')")
    assert capsys.readouterr().out.endswith("name a file: learn.ask('cat.jpg')\n")


def test_live_needs_no_torch():
    code = "import sys, imgcourse.live; print('torch' in sys.modules, 'ipywidgets' in sys.modules)"
    assert subprocess.check_output([sys.executable, '-c', code], text=True) == 'False False\n'


# ---- in a browser
SETUP = """import numpy as np
import matplotlib.pyplot as plt
from fastcore.imports import in_notebook
from ipywidgets import Dropdown
from PIL import Image
from imgcourse.inside import kernels
from imgcourse.live import *

def figures():
    for k in range(3):
        fig, ax = plt.subplots(figsize=(5, 2))
        ax.plot([0, k])
        yield fig

def shape(picture):
    plt.figure(figsize=(3, 2))
    plt.title(f'{picture.width} by {picture.height}')
    if not in_notebook(): # `learn.ask` would print then, and nobody would see it
        raise ValueError('it does not know where it is')

picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90)).astype(np.uint8))
"""
FIGURES = """titles = ['one', 'two', 'costs $5 or $6']
frames(figures(), titles)
frames(figures(), titles)
rate_figure(.03)
kernel_grid(picture, [[2, 1, 0], [1, 0, -1], [0, -1, -2]], kernels)
kernel_grid(picture, 'outline', kernels)
"""
LIST = "show_widget(Dropdown(options=['cat', 'dog']), 'No <em>list</em> here? Run this cell again.')"
BUTTON = 'pick_picture(shape, "shape(Image.open(\'cat.jpg\'))")'
NOTES = 'No list here?', 'In JupyterLab there is a button here'


def check_figures(place):
    "Each of the five answers, and only the one that is asked."
    from playwright.sync_api import expect
    live = place.locator('.imgcourse-live')
    expect(live).to_have_count(5, timeout=MINUTE)
    check_player(live.nth(0), live.nth(1))
    check_rate(live.nth(2))
    check_grid(live.nth(3), live.nth(4))


def check_player(player, other):
    from playwright.sync_api import expect
    words, picture = player.locator('figcaption'), player.locator('img')
    expect(words).to_have_text('costs $5 or $6')
    seen = [picture.get_attribute('src')]
    player.get_by_role('button', name='Back').click()
    expect(words).to_have_text('two')
    seen.append(picture.get_attribute('src'))
    player.get_by_role('slider').fill('0')
    expect(words).to_have_text('one')
    seen.append(picture.get_attribute('src'))
    assert len({*seen}) == 3 and loaded(picture)
    player.get_by_role('button', name='Play').click()
    expect(player.get_by_role('button', name='Pause')).to_be_visible()
    expect(words).to_have_text('costs $5 or $6')
    expect(player.get_by_role('button', name='Play')).to_be_visible()
    assert picture.get_attribute('src') == seen[0] and picture.get_attribute('alt').endswith('costs $5 or $6')
    expect(other.locator('figcaption')).to_have_text('costs $5 or $6')
    other.get_by_role('button', name='Back').click()
    expect(other.locator('figcaption')).to_have_text('two')
    expect(words).to_have_text('costs $5 or $6')


def check_rate(figure):
    "By keys: JupyterLab has other uses for them."
    from playwright.sync_api import expect
    expect(figure.locator('figcaption')).to_contain_text('learning rate 0.03')
    before = figure.locator('img').get_attribute('src')
    slider = figure.get_by_role('slider', name='learning rate')
    slider.press('End')
    expect(figure.locator('figcaption')).to_contain_text('it diverges')
    assert figure.locator('img').get_attribute('src') != before and loaded(figure.locator('img'))
    slider.press('Home')
    expect(figure.locator('figcaption')).to_contain_text('learning rate 0.01: in 8 steps the loss goes from 16 to 12')
    slider.press('ArrowRight')
    expect(figure.locator('figcaption')).to_contain_text('learning rate 0.012')


def seen(image):
    "The pixels of a picture or a canvas, one channel."
    data = image.evaluate("""async picture => {
        const page = document.createElement('canvas');
        if (picture.decode) await picture.decode();
        [page.width, page.height] = [picture.naturalWidth || picture.width, picture.naturalHeight || picture.height];
        page.getContext('2d').drawImage(picture, 0, 0);
        return page.toDataURL();
    }""")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(',')[1]))).convert('L'))


def check_grid(grid, other):
    "The sums are those of lesson 9, whether a kernel is chosen or a number typed."
    from playwright.sync_api import expect
    sums, fields, names = grid.locator('canvas'), grid.locator('input[type=number]'), grid.locator('select')
    expect(fields).to_have_count(9)
    picture = seen(grid.locator('img'))
    assert names.input_value() == 'your own' and fields.first.input_value() == '2'
    names.select_option('left edges')
    assert [float(f.input_value()) for f in fields.all()] == [1, 0, -1]*3
    assert np.abs(seen(sums) - sums_of(picture, kernels['left edges'])).max() < .51
    grid.get_by_label('row 2, column 3').click()
    for key in ('Control+A', *'2.5'):
        grid.page.keyboard.press(key)
    assert names.input_value() == 'your own'
    assert np.abs(seen(sums) - sums_of(picture, [[1, 0, -1], [1, 0, 2.5], [1, 0, -1]])).max() < .51
    assert other.locator('select').input_value() == 'outline'
    assert np.abs(seen(other.locator('canvas')) - sums_of(picture, kernels['outline'])).max() < .51


@e2e
def test_live_figures_in_jupyterlab(open_lesson):
    "Right after they were made; then in the saved notebook, opened again without a kernel."
    nb = open_lesson('92_all.ipynb')
    nb.add(SETUP)
    cell, _ = nb.add(FIGURES)
    check_figures(cell)
    assert not cell.locator('mjx-container').count(), 'a title was taken for math'
    nb.reopen_without_kernel()
    check_figures(nb.page.locator('.jp-Notebook-cell', has_text='titles = [').last)


@e2e
def test_live_figures_as_the_notebook_comes(open_lesson):
    "Nothing has been run."
    from playwright.sync_api import expect
    nb = open_lesson('64_live.ipynb')
    i = nb.find('frames((waves(n)')
    nb.js(f'nb.content.scrollToItem({i})')
    player = nb.cell(i).locator('.imgcourse-live')
    expect(player.locator('figcaption')).to_have_text('20 waves', timeout=MINUTE)
    player.get_by_role('button', name='Back').click()
    expect(player.locator('figcaption')).to_have_text('9 waves')


@pytest.fixture(scope='module')
def page_file(tmp_path_factory):
    "An executed notebook as a page."
    folder = tmp_path_factory.mktemp('page')
    cells = [nbformat.v4.new_code_cell(code) for code in (SETUP, FIGURES, LIST, BUTTON)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder/'live.ipynb')
    options = [f'--HTMLExporter.{name}_url=' for name in ('mathjax', 'require_js', 'jquery')]
    command = [sys.executable, '-m', 'nbconvert', '--execute', '--to', 'html', '--allow-errors', *options]
    subprocess.run([*command, '--ExecutePreprocessor.store_widget_state=False', folder/'live.ipynb'],
                   check=True, capture_output=True)
    return folder/'live.html'


@e2e
@pytest.mark.parametrize('width, scheme', [(1000, 'light'), (390, 'dark')])
def test_live_figures_on_a_page(page_file, browser, width, scheme):
    page = browser.new_page(viewport={'width': width, 'height': 800}, color_scheme=scheme)
    faults = []
    page.on('pageerror', lambda fault: faults.append(fault))
    page.goto(page_file.as_uri())
    check_figures(page)
    assert page.evaluate('document.documentElement.scrollWidth') <= width, 'wider than the page'
    for box in page.locator('.imgcourse-live').all():
        assert box.bounding_box()['x'] + box.bounding_box()['width'] <= width
    for note in NOTES:
        assert page.get_by_text(note).is_visible()
    assert not faults
    page.close()


@e2e
def test_still_without_scripts(page_file, browser):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(page_file.as_uri())
    assert page.locator('.imgcourse-live img').count() == 7
    assert all(image.is_visible() and image.bounding_box()['width'] > 100
               for image in page.locator('.imgcourse-live img').all())
    assert not page.locator('.imgcourse-live button').count() + page.locator('.imgcourse-live input').count()
    page.close()


def no_error(nb):
    "Neither an error nor a promise of a widget is to be seen."
    for words in ('Error displaying widget', 'Loading widget'):
        assert not any(found.is_visible() for found in nb.page.get_by_text(words).all())


@e2e
def test_widgets_leave_notes(open_lesson, tmp_path):
    from playwright.sync_api import expect
    nb = open_lesson('93_reference.ipynb')
    nb.add(SETUP)
    first, _ = nb.add(LIST)
    expect(first.locator('select')).to_be_visible()
    second, _ = nb.add(BUTTON)
    button = second.get_by_role('button', name='Choose a picture')
    expect(button).to_be_visible()
    notes = [nb.page.locator('.imgcourse-note', has_text=note).last for note in NOTES]
    for note in notes:
        expect(note).to_be_hidden()

    def choose(name, data):
        with nb.page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files({'name': name, 'mimeType': 'image/png', 'buffer': data})

    file = io.BytesIO()
    stripes(64, 48).save(file, 'png')
    choose('words.png', b'no picture at all')
    expect(second).to_contain_text('words.png: this is not a picture', timeout=MINUTE)
    choose('cat.png', file.getvalue())
    answer = second.locator('img')
    expect(answer).to_be_visible(timeout=MINUTE)
    assert loaded(answer) and 'words.png' not in second.inner_text()
    shown = answer.get_attribute('src')

    nb.save()
    nb.js('nb.sessionContext.shutdown()')
    for reopen in (nb.reopen, nb.reopen_without_kernel): # with a new kernel that knows no widget; and with none at all
        reopen()
        last = nb.page.locator('.jp-Notebook-cell', has_text=BUTTON).last
        last.scroll_into_view_if_needed(timeout=MINUTE)
        for note in notes:
            expect(note).to_be_visible(timeout=MINUTE)
        assert last.locator('img').get_attribute('src') == shown
        no_error(nb)
