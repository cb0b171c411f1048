"""Peak memory while features of N small pictures are computed: `python tests/bench/memory.py N`. Prints bytes: at the
start, at the peak.

The pictures are hard links to eight files, in a table of 120 classes; the backbone is a single small convolution, so
that 200,000 take a minute. "Anonymous" memory is what the process has asked for itself; pages of files that are mapped
into memory (the stored features) do not count. Linux only.
"""
import os
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn


def anonymous():
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon'))*1024


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)

    def forward_features(self, x):
        return self.conv(x)


class Watch(threading.Thread):
    "Notes the peak of anonymous memory until it is stopped."
    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.done = 0, threading.Event()

    def run(self):
        while not self.done.wait(.005):
            self.peak = max(self.peak, anonymous())

    def stop(self):
        self.done.set()
        self.join()


def make_pictures(n, folder):
    (folder/'train').mkdir()
    for k in range(8):
        pixels = np.random.RandomState(k).randint(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder/f'{k}.png')
    with open(folder/'labels.csv', 'w') as f:
        f.write('id,breed\n')
        for i in range(n):
            os.link(folder/f'{i % 8}.png', folder/'train'/f'{i:032}.png')
            f.write(f'{i:032},breed{i % 120}\n')


def main(n, folder):
    os.environ['IMGCOURSE_CACHE'] = str(folder/'cache')
    from imgcourse.batches import get_cv_idxs
    from imgcourse.data import ImageClassifierData
    from imgcourse.features import Backbone, features
    from imgcourse.transforms import tfms_from_model
    make_pictures(n, folder)
    start, watch = anonymous(), Watch()
    watch.start()
    data = ImageClassifierData.from_csv(
        folder, 'train', folder/'labels.csv', suffix='.png',
        tfms=tfms_from_model('resnet18', 16), val_idxs=get_cv_idxs(n, val_pct=.1),
    )
    backbone = Backbone(Small())
    backbone.register_forward_hook(lambda *args: None) # so that torch computes, and no race loads other engines
    feats = features(backbone, data.fix_ds), features(backbone, data.val_ds)
    watch.stop()
    assert sum(map(len, feats)) == n
    print(start, watch.peak)


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as tmp:
        main(int(sys.argv[1]), Path(tmp))
