"""The picture of the home page: photos that come with scikit-image and scikit-learn, and what the net on board says of
them. `python tests/home.py` draws it into nbs/answers.jpg."""
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from imgcourse.export import untouched
from imgcourse.pictures import show_images
from imgcourse.share import photos_on_board

FILE = Path(__file__).parents[1]/'nbs'/'answers.jpg'


def square(picture):
    "The middle of it."
    side = min(picture.size)
    left, top = [(long - side)//2 for long in picture.size]
    return picture.crop((left, top, left + side, top + side)).resize((440, 440))


def draw():
    photos, net = [*photos_on_board().values()], untouched()
    probs = np.exp(net.predict(photos))
    names = [net.classes[p.argmax()].split(',')[0] for p in probs]
    show_images([square(p) for p in photos], [f'{n}: {p.max():.0%}' for n, p in zip(names, probs)], 4, 2.2, size=11)
    plt.savefig(FILE, dpi=200, bbox_inches='tight', pil_kwargs={'quality': 80})


if __name__ == '__main__':
    matplotlib.use('agg')
    draw()
