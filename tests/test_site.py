"""The docs site as its readers have it: each page in a browser, with the site's own CSS, on a phone, a tablet and a
large screen, in light and in dark."""
import pytest
from pages import ROOT

pytestmark = pytest.mark.e2e
WIDTHS = 390, 768, 1400 # pixels
NAMES = sorted(f.name for f in (ROOT/'nbs').glob('*.ipynb'))
ROOMS = 'exercises', 'solutions'
ALL = [*NAMES, *(f'{room}/{f.name}' for room in ROOMS for f in sorted((ROOT/'nbs'/room).glob('*.ipynb')))]

SIDEWAYS = """() => {
    const wide = document.documentElement.clientWidth, found = [];
    if (document.documentElement.scrollWidth > wide) found.push('the page: ' + document.documentElement.scrollWidth);
    const inBox = e => e.closest('table, pre, .imgcourse-live, details:not([open]), math');
    for (const e of document.querySelectorAll('body *'))
        if (!inBox(e) && e.getBoundingClientRect().right > wide + 1)
            found.push(e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 60));
    return found.slice(0, 5);
}"""
CUT = """() => {
    const edge = document.querySelector('main').getBoundingClientRect().right;
    const pre = [...document.querySelectorAll('main pre')]
        .filter(e => e.scrollWidth > e.clientWidth + 1 || getComputedStyle(e).overflowX == 'hidden');
    const tables = [...document.querySelectorAll('main table')].filter(e => e.getBoundingClientRect().right > edge + 1);
    return [...pre, ...tables].map(e => e.textContent.slice(0, 80));
}"""
CONTRAST = """() => {
    const numbers = color => color.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v/255).map(v => v <= .03928 ? v/12.92 : ((v + .055)/1.055)**2.4)
        .reduce((sum, v, i) => sum + v*[.2126, .7152, .0722][i], 0);
    const paper = e => {
        for (; e; e = e.parentElement) {
            const [r, g, b, a = 1] = numbers(getComputedStyle(e).backgroundColor);
            if (a > .9) return [r, g, b];
        }
        return [255, 255, 255];
    };
    const found = {}, words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (words.nextNode()) {
        const e = words.currentNode.parentElement;
        if (!words.currentNode.data.trim() || e.closest('svg, script, style, title') || !e.checkVisibility()) continue;
        const [a, b] = [light(numbers(getComputedStyle(e).color)), light(paper(e))];
        const ratio = (Math.max(a, b) + .05)/(Math.min(a, b) + .05);
        const kind = e.tagName + '.' + e.className;
        const text = words.currentNode.data.trim().slice(0, 50);
        if (!(found[kind]?.ratio < ratio)) found[kind] = {kind, ratio, text};
    }
    return Object.values(found);
}"""


@pytest.fixture
def tab(browser):
    "A page that notes what it asks for and what goes wrong in its scripts."
    page = browser.new_page()
    page.asked, page.errors = [], []
    page.on('request', lambda request: page.asked.append(request.url))
    page.on('pageerror', lambda error: page.errors.append(str(error)))
    yield page
    page.close()


@pytest.mark.parametrize('name', ALL)
def test_a_page_can_be_read(tab, site_pages, name):
    "No page is wider than the window; all code is seen, also that which is folded; words can be told from the paper."
    tab.goto(site_pages[name].as_uri())
    for width in WIDTHS:
        tab.set_viewport_size({'width': width, 'height': 1000})
        assert tab.evaluate(SIDEWAYS) == [], f'{width} pixels, as it comes'
        tab.evaluate('document.querySelectorAll("details").forEach(e => e.open = true)')
        assert tab.evaluate(SIDEWAYS) == [], f'{width} pixels'
        assert tab.evaluate(CUT) == [], f'{width} pixels'
    for scheme in ('light', 'dark'):
        tab.evaluate(f'document.body.className = document.body.className.replace(/quarto-\\w+$/, "quarto-{scheme}")')
        found = tab.evaluate(CONTRAST)
        assert len(found) > 5
        assert [f for f in found if f['ratio'] < 4.5] == [], scheme
    assert tab.errors == []
    others = [url for url in tab.asked if not url.startswith(('file:', 'data:'))]
    assert others == [], 'nobody else is asked for anything'
