"""The diagrams of the lessons. `python tests/figures.py [FOLDER]` draws them all, byte for byte, into nbs/figures.

Colors mean the same in all: blue is data, gray is frozen, orange learns, red is the loss, green is an answer. A figure
has a background of its own and changes all its colors together in dark mode, since pages show it through `<img>`."""
import json
import re
import sys
from itertools import pairwise
from math import cos, hypot, pi, sin
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parents[1]/'nbs'/'figures'
WIDTH = 400
COLORS = { # areas, lines and dots, words: in light mode; in dark mode
    'panel': ('#ffffff #dfe4ea #1f2733', '#1b2028 #39424e #e9edf2'),
    'quiet': ('#f4f6f8 #7c8896 #55606e', '#252c36 #8593a3 #b3bdc9'),
    'data': ('#dcebfc #2f70c5 #1b4f95', '#1d3a5f #62a0ee #b4d4fc'),
    'frozen': ('#e6eaef #8290a0 #475362', '#333c48 #8b99a9 #c9d2dc'),
    'learn': ('#fee8cb #cc7a1e #854706', '#513411 #e8a04d #ffd3a0'),
    'loss': ('#fcdedd #cb3f3f #9c2525', '#582527 #ee7777 #ffbaba'),
    'answer': ('#d8f1e1 #2b8a57 #17603a', '#17432f #54bf88 #abe8c8'),
    'low': ('#feeedb #cc7a1e #6b3903', '#3c2a15 #e8a04d #ffdcb4'),
    'mid': ('#fac98c #cc7a1e #4a2702', '#744611 #e8a04d #fff1de'),
    'high': ('#e8963a #cc7a1e #2e1800', '#e8a04d #e8a04d #2b1700'),
}
LOOK = """text{font:13px system-ui,sans-serif;text-anchor:middle}
text.b{font-weight:600}text.s{font-size:12px}text.m{font-family:ui-monospace,monospace}
text.start{text-anchor:start}text.end{text-anchor:end}
path,rect,circle,ellipse{stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round}
.dash{stroke-dasharray:4 4}.thick{stroke-width:2.2}
"""
FIGURES = {} # by name: the function that draws it, its height and title


def figure(name, height, title):
    "Registers a function that draws on a `Drawing`; its docstring tells what one sees."
    def register(draw):
        FIGURES[name] = draw, height, title
        return draw
    return register


def alt(name):
    "What one sees in a figure, in words: its description, and the alternative text where it is shown."
    return ' '.join(FIGURES[name][0].__doc__.split())


# ---- what all figures are made of
def number(value):
    return f'{round(value, 1):g}' if isinstance(value, (int, float)) else escape(value)


def minus(text):
    "With a minus sign instead of a hyphen."
    return f'{text}'.replace('-', '\u2212')


class Drawing:
    "Shapes, lines and words; `kind` is a color, and more of the classes in `LOOK`. Most shapes are placed by centers."
    def __init__(self): self.parts = []

    def shape(self, tag, kind, **attributes):
        told = ''.join(f' {name}="{number(value)}"' for name, value in attributes.items())
        self.parts.append(f'<{tag} class="{kind}"{told}/>')

    def text(self, x, y, words, kind='panel'):
        self.parts.append(f'<text class="{kind}" x="{number(x)}" y="{number(y + 4.5)}">{escape(words)}</text>')

    def rect(self, x, y, w, h, kind, r=6): self.shape('rect', kind, x=x - w/2, y=y - h/2, width=w, height=h, rx=r)

    def box(self, x, y, w, h, kind, *lines):
        "A box with a line of bold words and lines of small ones."
        self.rect(x, y, w, h, kind)
        color = kind.split()[0]
        for i, words in enumerate(lines):
            self.text(x, y + 17*(i - (len(lines) - 1)/2), words, f'{color} s' if i else f'{color} b')

    def dot(self, x, y, kind, r=3.5): self.shape('circle', f'{kind} dot', cx=x, cy=y, r=r)

    def line(self, kind, *points):
        d = 'M' + 'L'.join(f'{number(x)} {number(y)}' for x, y in points)
        self.shape('path', f'{kind} line', d=d)

    def arrow(self, kind, *points):
        "A line with a head at its end, which is never dashed."
        self.line(kind, *points)
        (x, y), (fx, fy) = points[-1], points[-2]
        u, v = ((x - fx)/hypot(x - fx, y - fy), (y - fy)/hypot(x - fx, y - fy))
        wings = [(x - 6*u + s*4*v, y - 6*v - s*4*u) for s in (1, -1)]
        self.line(kind.replace(' dash', ''), wings[0], (x, y), wings[1])

    def curve(self, kind, rule, left, bottom, w, h, n=56):
        "The graph of a function from 0…1 to 0…1."
        self.line(kind, *((left + w*i/n, bottom - h*rule(i/n)) for i in range(n + 1)))

    def bracket(self, left, right, y, kind='quiet'):
        self.line(kind, (left, y - 5), (left, y), (right, y), (right, y - 5))

    def picture(self, x, y, side, kind='data'):
        "A photo: two hills and a sun."
        def at(a, b): return f'{number(x + side*(a - .5))} {number(y + side*(b - .5))}'
        self.rect(x, y, side, side, kind, r=3)
        hills = [at(.14, .8), at(.42, .36), at(.57, .6), at(.68, .47), at(.86, .8)]
        self.shape('path', f'{kind} dot hill', d=f'M{"L".join(hills)}z')
        self.shape('circle', f'{kind} dot hill', cx=x + .2*side, cy=y - .23*side, r=.08*side)

    def flake(self, x, y, r=7):
        "A snowflake, the sign of what is frozen."
        for turn in range(6):
            u, v = r*cos(turn*pi/3 + pi/6), r*sin(turn*pi/3 + pi/6)
            ends = [(x + u + .35*(-u*.5 - s*v*.87), y + v + .35*(-v*.5 + s*u*.87)) for s in (1, -1)]
            self.line('frozen', (x, y), (x + u*.65, y + v*.65), ends[0])
            self.line('frozen', (x + u, y + v), (x + u*.65, y + v*.65), ends[1])

    def plus(self, x, y):
        self.shape('circle', 'answer', cx=x, cy=y, r=10)
        self.line('answer thick', (x - 5, y), (x + 5, y))
        self.line('answer thick', (x, y - 5), (x, y + 5))

    def frozen(self, x, y):
        self.flake(x - 23, y, 6)
        self.text(x + 9, y, 'frozen', 'frozen s')

    def cells(self, left, top, rows, side, kind):
        "A table of numbers; `kind(row, column)` is a cell's color."
        squares, words = {}, []
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                squares.setdefault(kind(i, j), []).append(f'M{left + side*j} {top + side*i}h{side}v{side}h-{side}z')
                if value != '':
                    words.append((left + side*(j + .5), top + side*(i + .5), minus(value), f'{kind(i, j)} s'))
        for color, d in sorted(squares.items(), key=lambda item: item[0] not in ('panel', 'quiet')):
            self.shape('path', color, d=''.join(d))
        for told in words:
            self.text(*told)


def style(body):
    "The colors that a figure uses, for both modes."
    used = {name for names in re.findall('class="([^"]*)"', body) for name in names.split()}
    light, dark = '', ''
    for kind, modes in COLORS.items():
        if kind not in used:
            continue
        rules = []
        for fill, stroke, words in map(str.split, modes):
            rules.append(f'.{kind}{{fill:{fill};stroke:{stroke}}}.{kind}.dot{{fill:{stroke}}}'
                         f'text.{kind}{{fill:{words};stroke:none}}\n')
        light, dark = light + rules[0], dark + rules[1]
    return f'{LOOK}{light}@media (prefers-color-scheme:dark){{\n{dark}}}\n.line{{fill:none}}.hill{{stroke:none}}'


def svg(name):
    "The text of a figure's file."
    draw, height, title = FIGURES[name]
    drawing = Drawing()
    drawing.shape('rect', 'panel', x=.75, y=.75, width=WIDTH - 1.5, height=height - 1.5, rx=10)
    draw(drawing)
    body = '\n'.join(drawing.parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="520" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-labelledby="title desc">\n<title id="title">{escape(title)}</title>\n'
            f'<desc id="desc">{escape(alt(name))}</desc>\n<style>{style(body)}</style>\n{body}\n</svg>\n')


# ---- rules of the learning rate, from the time 0…1 to 0…1
def cosine(t): return (1 + cos(pi*t))/2


def triangle(t, div=20, cut=4): return 1/div + (1 - 1/div)*min(cut*t, (1 - t)/(1 - 1/cut))


def one_cycle(t): return cosine((t - .3)/.7) if t > .3 else 1 - .96*cosine(t/.3)


def momentum(t): return 1 - cosine((t - .3)/.7) if t > .3 else cosine(t/.3)


# ---- the figures
@figure('training-loop', 380, 'The training loop')
def training_loop(f):
    """A circle of six steps: a batch of pictures goes into the model, its predictions are compared with the labels,
    which gives the loss; from that come gradients, the optimizer makes a step, and the next batch follows."""
    nodes = [('data', 'batch', 'pictures, labels'), ('learn', 'model', 'its weights'),
             ('answer', 'predictions', 'cat or dog?'), ('loss', 'loss', 'how wrong?'),
             ('loss', 'gradients', 'which way?'), ('learn', 'step', 'changes weights')]
    around = [i*pi/3 - pi/2 for i in range(7)]
    def at(angle): return 200 + 130*cos(angle), 190 + 146*sin(angle)
    centers = [at(angle) for angle in around[:6]]
    for a, b in pairwise(around):
        arc = [at(a + (b - a)*i/40) for i in range(41)]
        f.arrow('quiet', *(p for p in arc if all(abs(p[0] - x) > 65 or abs(p[1] - y) > 26 for x, y in centers)))
    f.arrow('answer dash', (200, 69), (200, 308))
    f.text(208, 190, 'labels', 'answer start s')
    for (x, y), (kind, *lines) in zip(centers, nodes):
        f.box(x, y, 122, 44, kind, *lines)
    f.text(112, 60, 'next batch', 'quiet s end')


@figure('train-valid-test', 268, 'Training, validation and test pictures')
def train_valid_test(f):
    """Three sets of pictures. The weights learn from the large training set at every step, you choose with the
    validation set after every epoch, and the test set is opened once, at the very end."""
    sets = [('training', 4, 'learn', 'weights', 'learn from it', 'at every step'),
            ('validation', 2, 'quiet', 'you', 'choose with it', 'after every epoch'),
            ('test', 2, 'answer', 'final score', 'opened once', 'at the very end')]
    for i, (name, rows, kind, who, does, often) in enumerate(sets):
        x, top = 72 + 128*i, 152 - 26*rows
        f.rect(x, 152 - 13*rows - 2, 112, 26*rows + 8, 'quiet dash' if name == 'test' else 'quiet')
        for row in range(rows):
            for column in range(4):
                f.picture(x + 26*(column - 1.5), top + 26*row + 11, 22)
        f.text(x, top - 20, name, 'panel b')
        f.arrow('quiet', (x, 162), (x, 180))
        f.box(x, 208, 112, 46, kind, who, does)
        f.text(x, 246, often, 'quiet s')
    f.shape('rect', 'quiet', x=349, y=73, width=14, height=11, rx=2)
    f.shape('path', 'quiet line', d='M352 73v-3.5a4 4 0 0 1 8 0v3.5')


@figure('backbone-head', 414, 'Backbone and head')
def backbone_head(f):
    """A picture of shape (3, 96, 96) goes through the frozen backbone and becomes maps of shape (1280, 3, 3). Average
    and max pooling make 2560 features of them; the head, which learns, makes 2 logprobs of these."""
    f.picture(52, 60, 64)
    f.rect(190, 60, 148, 76, 'frozen')
    for i in range(9):
        f.rect(138 + 13*i, 64, 7, 54 - 5*i, 'frozen dot', r=2)
    f.flake(248, 36)
    for shift in (12, 6, 0):
        f.cells(311 + shift, 43 - shift, [['']*3]*3, 15, lambda i, j: 'data')
    for x, name, shape in ((52, 'picture', '(3, 96, 96)'), (190, 'backbone, frozen', 'EfficientNet-Lite0'),
                           (339, 'maps', '(1280, 3, 3)')):
        f.text(x, 112, name, 'panel b')
        f.text(x, 130, shape, 'quiet s')
    f.arrow('quiet', (92, 60), (110, 60))
    f.arrow('quiet', (270, 60), (300, 60))
    pooled_features(f)
    the_head(f)


def pooled_features(f):
    f.arrow('quiet', (339, 142), (339, 160))
    f.box(313, 184, 142, 42, 'quiet', 'pooling', 'average and max')
    f.arrow('quiet', (236, 184), (216, 184))
    f.rect(116, 176, 184, 18, 'data', r=2)
    for i in range(1, 23):
        f.line('data', (24 + 8*i, 167), (24 + 8*i, 185))
    f.text(116, 198, '2560 features', 'data b')
    f.arrow('quiet', (116, 212), (116, 228))


def the_head(f):
    f.rect(200, 291, 368, 118, 'learn')
    f.text(28, 247, 'head, learns', 'learn b start')
    norm, dropout = ('batch norm', 82), ('dropout', 64)
    for y, chips in ((275, [norm, dropout, ('linear 512', 82), ('ReLU', 48)]),
                     (327, [norm, dropout, ('linear 2', 64), ('log-softmax', 90)])):
        x = 28
        for i, (name, w) in enumerate(chips):
            if i:
                f.arrow('learn', (x - 12, y), (x - 2, y))
            f.rect(x + w/2, y, w, 26, 'panel', r=5)
            f.text(x + w/2, y, name, 'panel s')
            x += w + 14
    f.arrow('learn', (348, 275), (361, 275), (361, 301), (69, 301), (69, 312))
    f.arrow('quiet', (200, 354), (200, 368))
    f.box(200, 386, 124, 30, 'answer', '2 logprobs')


@figure('stored-features', 340, 'Stored features')
def stored_features(f):
    """With precompute each picture goes through the frozen backbone once and its features are stored; every epoch reads
    only these and trains the head. Without it, every epoch sends every picture through the backbone."""
    for y, title in ((26, 'with precompute'), (188, 'without')):
        f.text(16, y, title, 'panel b start')
        for shift in (6, 0, -6):
            f.picture(46 + shift, y + 54 - shift, 38)
        f.rect(148, y + 54, 92, 50, 'frozen')
        f.text(148, y + 45, 'backbone', 'frozen b')
        f.frozen(148, y + 63)
        f.box(349, y + 54, 70, 50, 'learn', 'head', 'learns')
        f.arrow('quiet', (78, y + 54), (98, y + 54))
    f.shape('path', 'data', d='M212 58v44c0 12 84 12 84 0v-44')
    f.shape('ellipse', 'data', cx=254, cy=58, rx=42, ry=9)
    f.text(254, 80, 'stored', 'data b')
    f.text(254, 96, 'features', 'data b')
    for left, right, y in ((198, 208, 80), (300, 310, 80), (198, 310, 242)):
        f.arrow('quiet', (left, y), (right, y))
    for left, right, y, when in ((16, 203, 128, 'once'), (211, 384, 128, 'every epoch'), (16, 384, 290, 'every epoch')):
        f.bracket(left, right, y)
        f.text((left + right)/2, y + 15, when, 'panel')
    f.text(200, 324, 'slower, but pictures may vary', 'quiet s')


@figure('three-rates', 254, 'Three learning rates')
def three_rates(f):
    """Five steps down the parabola w² from w = 4. With rate 0.03 they creep and reach 2.94, with 0.3 they arrive near
    0, with 1.05 they leap from side to side and out of the frame."""
    for x, rate, kind, what in ((72, .03, 'learn', 'too small'), (200, .3, 'answer', 'about right'),
                                (328, 1.05, 'loss', 'too large')):
        f.text(x, 26, f'rate {rate}', 'panel b')
        f.text(x, 44, what, f'{kind} s')
        def at(w, x=x): return x + 10.2*w, 192 - 4*w*w
        f.line('quiet', *(at(-5.4 + .2*i) for i in range(55)))
        f.line('panel', (x - 58, 192), (x + 58, 192))
        points = [at(4*(1 - 2*rate)**i) for i in range(6)]
        inside = [(a, b) for a, b in points if b > 70]
        f.line(kind, *inside)
        if len(inside) < 6:
            (a, b), (c, d) = inside[-1], points[len(inside)]
            f.arrow(kind, (a, b), (a + .86*(c - a), b + .86*(d - b)))
        for point in inside:
            f.dot(*point, kind, 3)
        f.text(x, 210, 'after 5 steps', 'quiet s')
        f.text(x, 230, minus(f'w = {4*(1 - 2*rate)**5:.2f}'), kind)
    f.text(72, 104, 'loss = w²', 'quiet s')


@figure('schedules', 334, 'Learning-rate schedules')
def schedules(f):
    """Four curves of the learning rate over the steps of a training: constant; cosine with restarts, each cycle twice
    as long; a slanted triangle; and one cycle that rises and falls, while the momentum, dashed, falls and rises."""
    rules = [('constant', lambda t: 1, 1), ('cosine with restarts', None, 0), ('slanted triangle', triangle, 4),
             ('one-cycle', one_cycle, 60)]
    for i, (name, rule, n) in enumerate(rules):
        left, bottom = 24 + 192*(i % 2), 124 + 150*(i//2)
        f.text(left, bottom - 100, name, 'panel b start')
        f.line('quiet', (left, bottom - 82), (left, bottom), (left + 160, bottom))
        if rule:
            f.curve('learn thick', rule, left + 3, bottom - 3, 154, 70, n)
            f.text(left + 80, bottom + 14, 'steps', 'quiet s')
    for start, length, name in ((0, 1, '1'), (1, 2, '2'), (3, 4, '4 epochs')):
        f.curve('learn thick', cosine, 219 + 22*start, 121, 22*length, 70, 12*length)
        f.text(219 + 22*start + 11*length, 138, name, 'quiet s')
    for x in (241, 285):
        f.line('learn dash', (x, 121), (x, 51))
    f.curve('data thick dash', momentum, 219, 271, 154, 70)
    f.line('learn thick', (68, 314), (92, 314))
    f.text(100, 314, 'learning rate', 'panel s start')
    f.line('data thick dash', (224, 314), (248, 314))
    f.text(256, 314, 'momentum', 'panel s start')


@figure('layer-groups', 276, 'Layer groups and their learning rates')
def layer_groups(f):
    """A net as a row of bars, stem, stages 1 to 7 and head, colored by learning rate: pale for the first half of the
    backbone at 1e-4, darker for the second half at 1e-3, darkest for the head at 1e-2."""
    f.text(200, 26, 'learn.fit([1e-4, 1e-3, 1e-2], 1)', 'panel m')
    f.text(200, 58, 'stages', 'quiet s')
    f.arrow('quiet', (12, 140), (390, 140))
    groups = [(0, 4, 'low', '1e-4', 'first half', 'edges, textures'), (4, 8, 'mid', '1e-3', 'second half', 'eyes, fur'),
              (8, 9, 'high', '1e-2', 'head', 'new')]
    for first, last, kind, rate, name, sees in groups:
        left, right = 20 + 40*first, 20 + 40*last
        for i in range(first, last):
            f.rect(40 + 40*i, 140, 28, 94 - 7*i, kind, r=4)
            f.text(40 + 40*i, 78, ['stem', *'1234567', 'head'][i], 'panel s')
        f.bracket(left + 4, right - 4, 202)
        f.text((left + right)/2, 218, rate, 'learn m b')
        f.text((left + right)/2, 236, name, 'panel s')
        f.text((left + right)/2, 254, sees, 'quiet s')


@figure('batch-norm', 260, 'Batch norm in training and in use')
def batch_norm(f):
    """In training, batch norm normalizes with the mean and spread of this batch and moves its running averages a
    little. In use it normalizes each picture alone, with the running averages that were stored."""
    f.text(74, 26, 'in training', 'panel b')
    f.text(326, 26, 'in use', 'panel b')
    for i in range(4):
        f.picture(74 + 28*(i - 1.5), 60, 24)
    f.picture(326, 60, 24)
    f.text(74, 86, 'a batch', 'quiet s')
    f.text(326, 86, 'one picture', 'quiet s')
    f.box(74, 148, 116, 50, 'data', 'mean, spread', 'of this batch')
    f.rect(200, 148, 84, 50, 'learn')
    f.text(200, 140, 'running', 'learn b')
    f.text(200, 157, 'averages', 'learn b')
    f.box(326, 148, 116, 50, 'frozen', 'mean, spread', 'stored')
    for x in (74, 326):
        f.arrow('quiet', (x, 98), (x, 118))
        f.arrow('quiet', (x, 178), (x, 198))
        f.box(x, 218, 116, 34, 'data', 'normalized')
    f.arrow('learn dash', (136, 148), (154, 148))
    f.arrow('quiet dash', (246, 148), (264, 148))
    f.text(200, 188, 'each batch moves', 'quiet s')
    f.text(200, 204, 'them a little', 'quiet s')


PATCH = [[1, 1, 2, 8, 9], [0, 1, 1, 9, 8], [1, 2, 1, 8, 8], [1, 0, 2, 9, 9], [2, 1, 1, 8, 9]]
KERNEL = [[-1, 0, 1]]*3


def products(left):
    "The kernel times the top rows of the patch, from that column on."
    return [[k*PATCH[i][left + j] for j, k in enumerate(row)] for i, row in enumerate(KERNEL)]


@figure('convolution', 320, 'A convolution, step by step')
def convolution(f):
    """A window of three by three numbers moves over a picture of five by five. At each place its numbers are multiplied
    by those of the kernel, and the sum of the nine products is one number of the output: 2 at first, and 21 at the
    second place, where there is an edge."""
    for x, words in ((71, 'picture'), (181, 'kernel'), (269, 'products'), (351, 'output')):
        f.text(x, 24, words, 'panel b')
    out = [['']*3 for _ in range(3)]
    for step in (0, 1):
        top, mid = 42 + 138*step, 97 + 138*step
        out[0][step] = sum(map(sum, products(step)))
        f.cells(16, top, PATCH, 22, lambda i, j, left=step: 'data' if i < 3 and left <= j < left + 3 else 'quiet')
        f.text(137, mid, '×')
        f.cells(148, mid - 33, KERNEL, 22, lambda i, j: 'learn')
        f.text(225, mid, '=')
        f.cells(236, mid - 33, products(step), 22, lambda i, j: 'quiet')
        f.arrow('quiet', (305, mid), (315, mid))
        f.cells(318, mid - 33, out, 22, lambda i, j, now=step: 'answer' if (i, j) == (0, now) else 'panel')
        f.text(269, mid + 48, f'sum = {out[0][step]}', 'answer b')


@figure('residual', 402, 'A plain and a residual block')
def residual(f):
    """Left a plain block, convolution, norm, ReLU, convolution, norm, ReLU. Right the same as a residual block: a line
    carries the input around it, unchanged, and it is added at the end."""
    layers = [('convolution', 'learn'), ('norm', 'learn'), ('ReLU', 'quiet'), ('convolution', 'learn'),
              ('norm', 'learn'), ('ReLU', 'quiet')]
    for x, title in ((80, 'plain'), (234, 'residual')):
        f.text(x, 24, title, 'panel b')
        f.text(x, 50, 'x', 'data b')
        for i, (name, kind) in enumerate(layers):
            y = 88 + 42*i
            f.rect(x, y, 104, 28, kind)
            f.text(x, y, name, kind)
            f.arrow('quiet', (x, y - (28 if i else 26)), (x, y - 16))
        f.text(x, 382, 'out')
    f.arrow('quiet', (80, 312), (80, 369))
    f.text(90, 338, 'F(x)', 'panel start')
    f.arrow('quiet', (234, 312), (234, 326))
    f.arrow('quiet', (234, 349), (234, 369))
    f.arrow('data thick', (244, 50), (308, 50), (308, 338), (247, 338))
    f.plus(234, 338)
    f.text(218, 338, 'F(x) + x', 'answer end')
    f.text(316, 164, 'the input,', 'data s start')
    f.text(316, 180, 'unchanged', 'data s start')


@figure('resnext', 332, 'The paths of ResNet and ResNeXt')
def resnext(f):
    """The ResNet block has one path of three convolutions, 64 channels wide. The ResNeXt block has 64 thin paths of 4
    channels side by side. In both, the input of 256 channels is added to the result."""
    for y, size in ((130, '1×1'), (174, '3×3'), (218, '1×1')):
        f.text(14, y, size, 'quiet s start')
    for x, title, what, paths, channels, widths, skip in (
            (110, 'ResNet: 1 path', '64 channels wide', [110], '64', (64, 64, 124), 186),
            (280, 'ResNeXt: 64 paths', '4 channels wide each', [222, 264, 338], '4', (26, 26, 34), 384)):
        f.text(x, 24, title, 'panel b')
        f.text(x, 42, what, 'quiet s')
        f.text(x, 72, '256 channels', 'data s')
        f.arrow('data', (x, 88), (skip, 88), (skip, 270), (x + 13, 270))
        for path in paths:
            f.arrow('quiet', (x, 81), (x, 100), (path, 100), (path, 114))
            f.line('quiet', (path, 232), (path, 244), (x, 244))
            for i, w in enumerate(widths):
                f.box(path, 130 + 44*i, w, 28, 'learn', '256' if i == 2 else channels)
            for y in (144, 188):
                f.arrow('quiet', (path, y), (path, y + 14))
        f.arrow('quiet', (x, 244), (x, 258))
        f.plus(x, 270)
        f.arrow('quiet', (x, 281), (x, 296))
        f.text(x, 310, '256 channels', 'data s')
    f.text(301, 174, '…')


CAT = ('<defs><g id="cat"><path class="data line" style="stroke-width:4" d="M42 56c16 2 16-14 9-20"/>'
       '<path class="data dot" d="M16 76V56c0-10 3-18 10-21-14-1-16-13-12-18L13 6l8 5c3-1 7-1 10 0l8-5-1 11'
       'c3 5 2 11-3 15 8 4 11 13 11 24v20z"/>'
       '<path class="data hill" d="M21 19a2 2 0 1 0 .1 0M31 19a2 2 0 1 0 .1 0M24.5 26h3l-1.5 2z"/></g></defs>')


@figure('five-views', 306, 'Test-time augmentation')
def five_views(f):
    """One picture of a cat in five views: as it is, mirrored, turned, shifted and brighter. Each goes through the same
    net; the five probabilities, for example 0.7, 0.9, 0.6, 0.8 and 0.9, are averaged to 0.78."""
    views = [('as it is', '', .7), ('mirrored', 'matrix(-1 0 0 1 60 0)', .9), ('turned', 'rotate(16 30 30)', .6),
             ('shifted', 'translate(-9 9)', .8), ('brighter', '', .9)]
    f.parts.append(CAT)
    f.box(200, 152, 368, 34, 'frozen', 'the same net')
    for i, (name, transform, p) in enumerate(views):
        x = 49 + 75.5*i
        f.rect(x, 51, 66, 66, 'data', r=3)
        light = '<rect fill="#fff" fill-opacity=".5" width="60" height="60" rx="2.7"/>' if name == 'brighter' else ''
        f.parts.append(f'<svg x="{number(x - 33)}" y="18" width="66" height="66" viewBox="0 0 60 60">'
                       f'<use href="#cat" transform="{transform}"/>{light}</svg>')
        f.rect(x, 51, 66, 66, 'data line', r=3)
        f.text(x, 98, name, 'panel s')
        f.arrow('quiet', (x, 111), (x, 131))
        f.arrow('quiet', (x, 173), (x, 189))
        f.text(x, 202, f'cat {p}', 'answer')
        f.line('quiet', (x, 216), (x, 230), (200, 230))
    f.arrow('quiet', (200, 230), (200, 248))
    f.box(200, 270, 160, 34, 'answer', f'average: cat {sum(p for *_, p in views)/5:.2f}')


@figure('freeze-unfreeze', 318, 'Freeze, then unfreeze')
def freeze_unfreeze(f):
    """A timeline of three phases, in each the learning rate rises and falls once. First the backbone is frozen and the
    head learns; then all layers learn, early ones at smaller rates; then the same with larger pictures."""
    f.text(14, 70, 'learning', 'panel s start')
    f.text(14, 86, 'rate', 'panel s start')
    for y, name in ((142, 'head'), (182, 'late layers'), (222, 'early layers'), (276, 'pictures')):
        f.text(14, y, name, 'panel s start')
    rows = [('high', '1e-2'), ('mid', '1e-3'), ('low', '1e-4')]
    for i, call in enumerate(('freeze()', 'unfreeze()', 'set_data()')):
        x = 150 + 95*i
        f.text(x, 24, call, 'panel m s')
        f.curve('learn thick', one_cycle, x - 44, 104, 88, 58)
        for j, (kind, rate) in enumerate(rows):
            frozen = i == 0 and j > 0
            f.rect(x, 142 + 40*j, 88, 32, 'frozen' if frozen else kind)
            if frozen:
                f.frozen(x, 142 + 40*j)
            else:
                f.text(x, 142 + 40*j, rate, f'{kind} m')
        f.picture(x, 276, 44 if i == 2 else 26)
    f.arrow('quiet', (102, 113), (392, 113))


@figure('file-of-a-net', 262, 'What is in the file of a net')
def file_of_a_net(f):
    """One file holds the weights, as numbers; how the net is built, as a description; the names of the classes; and how
    a picture is prepared. It holds no program and no training pictures."""
    f.shape('path', 'data', d='M24 44h210l26 26v172q0 6-6 6h-230q-6 0-6-6v-192q0-6 6-6z')
    f.shape('path', 'data line', d='M234 44v20q0 6 6 6h20')
    f.text(140, 24, 'in the file', 'panel b')
    rows = [('weights', 'only numbers'), ('how the net is built', 'a description, no program'),
            ('class names', 'cats, dogs'), ('how a picture is prepared', 'size, mean, spread')]
    for i, (name, what) in enumerate(rows):
        y = 68 + 47*i
        f.dot(37, y, 'data')
        f.text(50, y, name, 'panel start')
        f.text(50, y + 17, what, 'data s start')
    f.text(330, 24, 'not in it', 'panel b')
    for y, name in ((91, 'program code'), (201, 'your pictures')):
        f.rect(330, y, 108, 94, 'quiet dash')
        f.text(330, y + 28, name, 'quiet s')
    for points in ([(318, 72), (308, 82), (318, 92)], [(342, 72), (352, 82), (342, 92)], [(334, 69), (326, 95)]):
        f.line('quiet thick', *points)
    for i in (-1, 0, 1):
        f.picture(330 + 28*i, 190, 24, 'quiet')


@figure('gradient', 282, 'What a gradient is')
def gradient(f):
    """A curve of the loss over one weight, with the tangent at the present weight. Its slope is −3: a larger weight
    makes the loss smaller. So the step goes to the right, against the slope."""
    def loss(w): return 1.5*(w - 2)**2 + 2.2
    def at(w, height): return 36 + 82*w, 240 - 26*height
    weight, slope, rate = 1, 3*(1 - 2), .2
    new, here = weight - rate*slope, loss(weight)
    f.line('quiet', (36, 20), (36, 240), (384, 240))
    f.text(44, 20, 'loss', 'quiet s start')
    f.text(384, 226, 'weight', 'quiet s end')
    f.line('loss thick', *(at(.02*i, loss(.02*i)) for i in range(2, 199, 4)))
    for w in (weight, new):
        f.line('quiet dash', at(w, loss(w)), at(w, 0))
    f.line('quiet', at(1, here), at(2, here), at(2, here + slope))
    f.line('quiet thick', at(.3, here - .7*slope), at(2.15, here + 1.15*slope))
    f.text(159, 132, '1', 'quiet s')
    f.text(208, 206, minus(slope), 'quiet s start')
    for w, kind in ((weight, 'loss'), (new, 'answer')):
        f.dot(*at(w, loss(w)), kind, 5)
    f.text(206, 34, minus(f'slope {slope}:'), 'panel b')
    for i, words in enumerate(('a larger weight makes', 'the loss smaller,', 'so step right')):
        f.text(206, 52 + 18*i, words)
    f.arrow('learn thick', (at(weight, 0)[0], 260), (at(new, 0)[0], 260))
    f.text(180, 260, minus(f'step = -{rate} × ({slope}) = {new - weight:.1f}'), 'learn s start')


@figure('dropout', 284, 'Dropout in training and in use')
def dropout(f):
    """Six features of a picture. In training, half of them, others in each batch, are set to zero and the rest are
    doubled. In use, all features go on as they are."""
    features = [.4, 1.0, .7, .2, .9, .5]
    rows = [(42, 'features', [1]*6), (122, 'batch 1', [2, 0, 2, 0, 0, 2]), (166, 'batch 2', [0, 2, 0, 2, 2, 0]),
            (246, 'always', [1]*6)]
    for y, name, scales in rows:
        f.text(14, y, name, 'panel start')
        for i, (value, scale) in enumerate(zip(features, scales)):
            kind = 'data' if scale else 'quiet'
            f.rect(117 + 49*i, y, 40, 32, kind if scale else 'quiet dash')
            f.text(117 + 49*i, y, f'{value*scale:.1f}' if scale else '0', f'{kind} b' if scale == 2 else kind)
    for y, name, what in ((84, 'in training', 'half become 0, the others double'), (208, 'in use', 'all, as they are')):
        f.text(14, y, name, 'panel b start')
        f.text(384, y, what, 'quiet s end')


@figure('folder-labels', 268, 'Folders are labels')
def folder_labels(f):
    """A folder tree: train and valid, each with the folders cats and dogs. The name of the folder that a picture lies
    in is its label."""
    rows = [(0, 'pets/'), (1, 'train/'), (2, 'cats/'), (2, 'dogs/'), (1, 'valid/'), (2, 'cats/'), (2, 'dogs/')]
    for i, (depth, name) in enumerate(rows):
        x, y = 18 + 28*depth, 34 + 34*i
        if depth:
            parent = max(k for k in range(i) if rows[k][0] < depth)
            f.line('quiet', (x - 18, 44 + 34*parent), (x - 18, y), (x - 4, y))
        f.shape('path', 'quiet', d=f'M{x} {y - 7}h7l3 3h10v12h-20z')
        f.text(x + 28, y, name, 'panel start')
        if depth == 2:
            pictures = 3 if i < 4 else 1
            for k in range(pictures):
                f.picture(190 + 32*k, y, 26)
            f.arrow('quiet', (180 + 32*pictures, y), (304, y))
            f.rect(346, y, 76, 26, 'answer')
            f.text(346, y, name[:-1], 'answer b')
    f.text(177, 68, 'to learn from', 'quiet s start')
    f.text(177, 170, 'to check with', 'quiet s start')
    f.text(346, 34, 'label', 'panel b')


COMPARED = { # what the chart calls a row of the table of accuracies: how that row begins, the text
    'three lines': ('three lines, net on board', 'Lesson 1'),
    'fine-tuning': ('stage 3: the same', 'Keras convnets'),
    'thirty lines': ('phase 2, both sizes', 'Thirty lines'),
    'SimpleNet': ('`SimpleNet`', 'Keras convnets'),
    'ConvNet': ('`ConvNet`', 'Keras convnets'),
    'ConvNet2': ('`ConvNet2`', 'Keras convnets'),
    'ResNet': ('`ResNet`', 'Keras convnets'),
    'PlainNet': ('`PlainNet` [32, 32, 256]', 'Plain English'),
    'PlainNet, larger': ('`PlainNet` [64, 128, 512]', 'Plain English'),
    'TrautNet': ('`TrautNet`', 'Traut'),
    'full net': ('full net', 'Traut'),
    'short net': ('short net', 'Traut'),
}


def compared():
    "From the page of results: for each row of the chart its name, the text, our accuracy and the text's."
    cells = json.loads((FOLDER.parent/'results.ipynb').read_text(encoding='utf-8'))['cells']
    table = next(t for t in (''.join(c['source']) for c in cells) if '## Accuracy' in t)
    for name, (begins, text) in COMPARED.items():
        row = next(r for r in table.split('\n') if r.startswith(f'| {begins}<br>'))
        _, ours, theirs = row.strip('| ').split(' | ')[:3]
        best = max(float(number) for number in re.findall(r'0\.\d+', ours.split(' (')[0]))
        yield name, text, best, float(re.search(rf'{text}: (0\.\d+)', theirs)[1])


@figure('results', 454, 'Our accuracies beside those of the texts')
def results(f):
    """Two bars for each of twelve networks, our accuracy and that of the text it comes from. They are about as long:
    close to 1 on dogs and cats, from 0.2 to 0.8 for the nets from nothing on CIFAR-10, below 0.5 on Caltech-101."""
    for x, kind, words in ((128, 'data', 'here'), (178, 'quiet', 'the text')):
        f.rect(x, 22, 10, 10, f'{kind} dot', r=2)
        f.text(x + 9, 22, words, f'{kind} s start')
    for i, (name, text, ours, theirs) in enumerate(compared()):
        y = 50 + 34*i
        f.text(12, y - 5, name, 'panel s start')
        f.text(12, y + 9, text, 'quiet s start')
        for shift, value, kind in ((-5, ours, 'data'), (7, theirs, 'quiet')):
            f.rect(120 + 115*value, y + shift, 230*value, 9, f'{kind} dot', r=2)
            f.text(126 + 230*value, y + shift, f'{value:.3f}', f'{kind} s start')


def draw_all(folder=FOLDER):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FIGURES:
        (folder/f'{name}.svg').write_text(svg(name), encoding='utf-8', newline='\n')


if __name__ == '__main__':
    draw_all(*sys.argv[1:])
