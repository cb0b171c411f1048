"""The runs on real data that lessons 6 and 7 report: `python tests/bench/cifar.py FOLDER NAME [EPOCHS]`.

FOLDER holds train/ and test/ with a folder for each class (`get_dataset('cifar10', full=True)` makes one).
NAME is one of the names in `runs`. The pictures in test/ are looked at after each epoch, and nothing is chosen by them.
"""
import sys
import time
from imgcourse.all import (ConvLearner, ConvNet, ConvNet2, FastNet, ImageClassifierData, PictureTransform, PlainNet,
                           ResNet, SimpleNet, TrautNet, alternating_flip, cutout, np, random_crop, random_flip,
                           random_shift, set_seed)

plain = PictureTransform([], 32, (0, 0, 0), (1, 1, 1))
scaled = PictureTransform([], 32, (.491, .482, .447), (.247, .243, .262))


def learner(path, bs, tfm, aug, make, precision):
    data = ImageClassifierData.from_paths(path, bs, (tfm, tfm), val_name='test').on_device(aug)
    return ConvLearner.from_model(make(data.c), data, precision=precision)


def keras(net, layers, bs=256, lr=.01, aug=(random_shift, random_flip), precision=None):
    "As the texts train: a constant rate."
    def run(path, epochs):
        learn = learner(path, bs, plain, aug, lambda c: net((32, 32, 3), layers, c), precision)
        return learn, lambda: learn.fit(lr, epochs)
    return run


def fast(layers):
    "One cycle, with what was found since."
    def run(path, epochs):
        aug = [alternating_flip, random_crop, cutout]
        learn = learner(path, 256, scaled, aug, lambda c: FastNet((32, 32, 3), layers, c), 'bf16')
        return learn, lambda: learn.fit_one_cycle(epochs, .25, wds=5e-4)
    return run


runs = {
    'SimpleNet': (10, keras(SimpleNet, [40])),
    'ConvNet': (10, keras(ConvNet, [20, 40, 80])),
    'ConvNet2': (10, keras(ConvNet2, [10, 20, 40, 80, 160])),
    'ResNet': (40, keras(ResNet, [10, 20, 40, 80, 160], precision='bf16')),
    'FastNet': (10, fast([32, 64, 128, 256])),
    'FastNet, wide': (20, fast([64, 128, 256, 512])), # for a GPU
    'Plain': (45, keras(PlainNet, [32, 32, 256], 128, .001, (), 'bf16')),
    'Variant': (20, keras(PlainNet, [64, 128, 512], 128, .001, (), 'bf16')),
    'Traut': (25, keras(lambda in_shape, layers, c: TrautNet(in_shape, c), [], 64, .001, (), 'bf16')),
}

if __name__ == '__main__':
    folder, name, *rest = sys.argv[1:]
    epochs, run = runs[name]
    epochs = int(rest[0]) if rest else epochs
    set_seed(42)
    learn, fit = run(folder, epochs)
    start = time.perf_counter()
    fit()
    last = [row['accuracy'] for row in learn.history[-5:]]
    size = sum(p.numel() for p in learn.model.parameters())
    print(f'{name}: {epochs} epochs, {time.perf_counter() - start:.0f} s, {size:,} weights, '
          f'accuracy {last[-1]:.4f}, mean of the last five {np.mean(last):.4f}')
