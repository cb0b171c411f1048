"""The check of heat maps on real photos that lesson 9 reports: `python tests/bench/heat.py FOLDER [ARCH [WEIGHTS]]`.

FOLDER holds dogs and cats in train/ and valid/. The head learns as in lesson 2; then a quarter of each validation photo is hidden."""
import sys, time
from imgcourse.all import *

def main(path, arch='tf_efficientnet_lite0', weights=None):
    set_seed(42)
    data = ImageClassifierData.from_paths(path, tfms=tfms_from_model(arch, 224))
    learn = ConvLearner.pretrained(arch, data, precompute=True, weights=weights, **({'pad_type': 'same'} if arch.startswith('mobilenet') else {}))
    learn.fit(0.01, 3)
    right, start = dict.fromkeys(('whole', 'hottest', 'random', 'coldest'), 0), time.perf_counter()
    for x, y in data.val_dl:
        heat = heat_map(learn.full, x)
        heat = heat + 1e-4*torch.rand_like(heat)
        random = F.interpolate(torch.rand(len(x), 1, 4, 4), x.shape[2:], mode='bilinear')[:, 0]
        for name, scores in zip(right, (None, heat, random, -heat)):
            with torch.no_grad(): right[name] += (learn.full((x if scores is None else hide_pixels(x, scores)).to(learn.backbone.device)).argmax(1).cpu() == y).sum().item()
    print({k: v/len(data.val_ds) for k, v in right.items()}, f'{time.perf_counter() - start:.0f} s')

main(*sys.argv[1:])
