"""The check of heat maps on real photos that lesson 9 reports: `python tests/bench/heat.py FOLDER [ARCH [WEIGHTS]]`.

FOLDER holds dogs and cats in train/ and valid/. The head learns as in lesson 2; then a quarter of each validation photo
is hidden."""
import sys
import time
import torch
import torch.nn.functional as F
from imgcourse.all import ConvLearner, ImageClassifierData, heat_map, hide_pixels, lite0, set_seed, tfms_from_model


def right_without(learn, heat, x, y):
    "How many are right: as they are, and without the hottest, a random, the coldest quarter."
    heat = heat + 1e-4*torch.rand_like(heat)
    random = F.interpolate(torch.rand(len(x), 1, 4, 4), x.shape[2:], mode='bilinear')[:, 0]
    shown = {'whole': x} | {name: hide_pixels(x, scores)
                            for name, scores in (('hottest', heat), ('random', random), ('coldest', -heat))}
    with torch.no_grad():
        said = {name: learn.full(x.to(learn.backbone.device)).argmax(1).cpu() for name, x in shown.items()}
    return {name: (k == y).sum().item() for name, k in said.items()}


def main(path, arch=lite0, weights=None):
    set_seed(42)
    data = ImageClassifierData.from_paths(path, tfms=tfms_from_model(arch, 224))
    args = {'pad_type': 'same'} if arch.startswith('mobilenet') else {}
    learn = ConvLearner.pretrained(arch, data, precompute=True, weights=weights, **args)
    learn.fit(0.01, 3)
    start = time.perf_counter()
    counts = [right_without(learn, heat_map(learn.full, x), x, y) for x, y in data.val_dl]
    right = {name: sum(c[name] for c in counts)/len(data.val_ds) for name in counts[0]}
    print(right, f'{time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
    main(*sys.argv[1:])
