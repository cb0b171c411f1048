"Small pictures of noise that any net can learn: the class, of three, is the channel that is brightest."
import numpy as np
from imgcourse.all import ImageClassifierData, PictureTransform

IN, PLAIN = (32, 32, 3), PictureTransform([], 32, (0, 0, 0), (1, 1, 1))


def pictures(n=60, sz=32, seed=0):
    "Pictures and their classes."
    rng = np.random.RandomState(seed)
    y = rng.permutation(np.arange(n) % 3)
    x = rng.randint(0, 160, (n, sz, sz, 3))
    x[np.arange(n), :, :, y] += 60
    return x.astype(np.uint8), y


def small_data(aug=(), n=60, bs=16, sz=32, on_device=True, tfm=PLAIN):
    data = ImageClassifierData.from_arrays('.', pictures(n, sz), pictures(30, sz, 1), bs, (tfm, tfm))
    return data.on_device(aug) if on_device else data
