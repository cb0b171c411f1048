"""The runs on real data that lessons 6 and 7 report: `python tests/bench/cifar.py FOLDER NAME [EPOCHS]`.

FOLDER holds train/ and test/ with a folder for each class (`get_dataset('cifar10', full=True)` makes one). NAME is one of the names in `runs`.
The pictures in test/ are looked at after each epoch, and nothing is chosen by them.
"""
import sys, time
from imgcourse.all import *

plain = PictureTransform([], 32, (0, 0, 0), (1, 1, 1))

def keras(net, layers, bs=256, lr=.01, aug=(random_shift, random_flip), precision=None):
    def run(path, epochs):
        data = ImageClassifierData.from_paths(path, bs, (plain, plain), val_name='test').on_device(aug)
        learn = ConvLearner.from_model(net((32, 32, 3), layers, data.c), data)
        learn.precision = precision
        return learn, lambda: learn.fit(lr, epochs)
    return run

def fast(path, epochs, layers=(32, 64, 128, 256)):
    tfm = PictureTransform([], 32, (.491, .482, .447), (.247, .243, .262))
    data = ImageClassifierData.from_paths(path, 256, (tfm, tfm), val_name='test').on_device([alternating_flip, random_crop, cutout])
    learn = ConvLearner.from_model(FastNet((32, 32, 3), layers, data.c), data)
    learn.precision = 'bf16'
    return learn, lambda: learn.fit_one_cycle(epochs, .25, wds=5e-4)

runs = {
    'SimpleNet': (10, keras(SimpleNet, [40])),
    'ConvNet': (10, keras(ConvNet, [20, 40, 80])),
    'ConvNet2': (10, keras(ConvNet2, [10, 20, 40, 80, 160])),
    'ResNet': (40, keras(ResNet, [10, 20, 40, 80, 160], precision='bf16')),
    'FastNet': (10, fast),
    'FastNet, wide': (20, lambda path, epochs: fast(path, epochs, (64, 128, 256, 512))), # for a GPU
    'Plain': (45, keras(PlainNet, [32, 32, 256], 128, .001, (), 'bf16')),
    'Variant': (20, keras(PlainNet, [64, 128, 512], 128, .001, (), 'bf16')),
    'Traut': (25, keras(lambda in_shape, layers, n: TrautNet(in_shape, n), [], 64, .001, (), 'bf16')),
}

if __name__ == '__main__':
    folder, name, *rest = sys.argv[1:]
    epochs, run = runs[name]
    epochs = int(rest[0]) if rest else epochs
    set_seed(42)
    learn, fit = run(folder, epochs)
    start = time.perf_counter()
    fit()
    last = [r['accuracy'] for r in learn.history[-5:]]
    print(f'{name}: {epochs} epochs, {time.perf_counter() - start:.0f} s, {sum(p.numel() for p in learn.model.parameters()):,} weights, accuracy {last[-1]:.4f}, mean of the last five {np.mean(last):.4f}')
