"""What others do, and what the machine could do, in pieces like those of ours.py."""
import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median

from ours import LAYERS, go_through, plain_net, small_pictures, timed


def machine():
    "What torch knows about this machine."
    import torch
    flags = getattr(torch.cpu, 'get_capabilities', dict)()
    names = 'avx2', 'avx512_f', 'avx512_bf16', 'amx_bf16'
    return {'threads': torch.get_num_threads(), 'flags': [name for name in names if flags.get(name)]}


def has_bfloat16():
    return bool({'avx512_bf16', 'amx_bf16'} & set(machine()['flags']))


def matrix_products(pictures, multiply_adds):
    "The time that so many multiply-adds for each picture take in large products of matrices, the fastest way."
    import torch
    n = 2048

    def rate(dtype):
        x = torch.randn(n, n).to(dtype)
        return n**3/min(timed(lambda: torch.mm(x, x)) for _ in range(10))

    rates = {str(dtype): rate(dtype) for dtype in [torch.float32, torch.bfloat16][:1 + has_bfloat16()]}
    return {'seconds': pictures*multiply_adds/max(rates.values()), 'multiply_adds_per_second': rates}


def fastai(photos, epochs):
    start = time.perf_counter()
    from fastai.vision.all import Callback, ImageDataLoaders, Resize, accuracy, resnet34, vision_learner
    imported, begins, ends = time.perf_counter(), [], []

    class Clock(Callback):
        order = 100

        def before_epoch(self): begins.append(time.perf_counter())

        def after_epoch(self): ends.append(time.perf_counter())

    dls = ImageDataLoaders.from_folder(
        Path(photos), train='train', valid='valid', item_tfms=Resize(224), bs=64, num_workers=2)
    learn = vision_learner(dls, resnet34, pretrained=False, metrics=accuracy, cbs=Clock())
    learn.freeze()
    with learn.no_bar():
        learn.fit_one_cycle(epochs, 1e-3)
    return {
        'seconds': ends[-1] - start, 'import_seconds': imported - start, 'before_seconds': begins[0] - start,
        'epoch_seconds': [e - b for b, e in zip(begins, ends)], 'accuracy': learn.recorder.values[-1][-1],
    }


def torch_engine(net, x, dtype):
    import torch
    net = net.to(dtype=dtype, memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    return lambda: net(x.to(dtype))


def float32(net, x):
    import torch
    return torch_engine(net, x, torch.float32)


def bfloat16(net, x):
    import torch
    if not has_bfloat16():
        raise RuntimeError('the processor has no bfloat16')
    return torch_engine(net, x, torch.bfloat16)


def write_onnx(net, x):
    import torch
    torch.onnx.export(net, (x,), 'net.onnx', dynamo=True, verbose=False, external_data=False)
    return 'net.onnx'


def onnxruntime(net, x):
    from onnxruntime import InferenceSession
    session = InferenceSession(write_onnx(net, x), providers=['CPUExecutionProvider'])
    inputs = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, inputs)


def openvino(net, x, precision='f32'):
    import openvino
    settings = {'INFERENCE_PRECISION_HINT': precision, 'PERFORMANCE_HINT': 'LATENCY'}
    compiled, x = openvino.Core().compile_model(write_onnx(net, x), 'CPU', settings), x.numpy()
    return lambda: compiled(x)


def openvino_bf16(net, x):
    return openvino(net, x, 'bf16')


def engine(kind, arch, weights, sz, times):
    "Pictures that are ready, as float32 tensors, to features: 16 or 64 at once, whichever is faster for one."
    import torch

    from imgcourse.all import ConcatPool, create_backbone, fold_batchnorm
    costs = {}
    for n in (16, 64):
        x = torch.randn(n, 3, sz, sz)
        backbone = create_backbone(arch, weights).requires_grad_(False)
        net = torch.nn.Sequential(fold_batchnorm(backbone, x[:1]), ConcatPool()).eval()
        with torch.no_grad():
            run = globals()[kind](net, x)
            run()
            costs[n] = median(timed(run) for _ in range(-(-times*16//n)))/n
    return {'seconds': min(costs.values()), 'count': 1, 'by_batch_size': costs}


def image_folder(photos, sz):
    from torch.utils.data import DataLoader
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder
    normalize = T.Normalize((.485, .456, .406), (.229, .224, .225))
    ds = ImageFolder(f'{photos}/train', T.Compose([T.Resize(sz), T.CenterCrop(sz), T.ToTensor(), normalize]))
    dl = DataLoader(ds, 64, num_workers=2, persistent_workers=True)
    go_through(dl)
    return {'seconds': timed(lambda: go_through(dl)), 'count': len(ds)}


def jpeg_decoder(photos):
    "Files that are in memory, to pixels, in two threads."
    from torchvision.io import decode_jpeg, read_file
    files = [read_file(str(f)) for f in sorted(Path(photos, 'train').rglob('*.jpg'))]
    with ThreadPoolExecutor(2) as pool:
        def decode_all():
            for _ in pool.map(lambda file: decode_jpeg(file).shape, files):
                pass
        decode_all()
        return {'seconds': timed(decode_all), 'count': len(files)}


def keras_layer(x, filters, stride):
    from keras import layers, regularizers
    x = layers.Conv2D(
        filters, 3, stride, padding='same', use_bias=False, activation='relu',
        kernel_regularizer=regularizers.L2(1e-6))(x)
    return layers.BatchNormalization()(x)


def keras_net():
    import keras
    from keras import layers
    pictures = keras.Input((32, 32, 3))
    x = layers.Conv2D(LAYERS[0], 7, padding='same', activation='relu')(pictures)
    for filters in LAYERS[1:]:
        x = keras_layer(x, filters, 2)
        for _ in range(2):
            x = layers.add([x, keras_layer(x, filters, 1)])
    x = layers.Dropout(.1)(layers.GlobalMaxPooling2D()(x))
    return keras.Model(pictures, layers.Dense(10, activation='softmax')(x))


def keras_batches(cifar, n):
    import tensorflow as tf
    from keras import layers
    shift, flip = layers.RandomTranslation(.1, .1, fill_mode='nearest'), layers.RandomFlip('horizontal')
    x, y = small_pictures(f'{cifar}/train', n)
    ds = tf.data.Dataset.from_tensor_slices((x.astype('float32')/255, y)).shuffle(n).batch(256)
    return ds.map(lambda x, y: (flip(shift(x)), y), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def keras_epoch(cifar, n, backend, jit):
    "The second epoch of the same ResNet in Keras."
    os.environ['KERAS_BACKEND'] = backend
    import keras
    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None): self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None): seconds.append(time.perf_counter() - self.start)

    net = keras_net()
    net.compile(keras.optimizers.Adam(.01), 'sparse_categorical_crossentropy', metrics=['accuracy'], jit_compile=jit)
    net.fit(keras_batches(cifar, n), epochs=2, verbose=0, callbacks=[Clock()])
    return {'seconds': seconds[1], 'count': n, 'first_seconds': seconds[0]}


def bare_loop(net, trn, val, bs, epochs):
    """The least that a training needs; `trn` and `val` are a function from numbers of pictures to a batch, and class
    numbers."""
    import torch
    import torch.nn.functional as F
    opt = torch.optim.SGD(net.parameters(), lr=.01, momentum=.9, fused=True)
    (batch, y), (val_batch, val_y) = trn, val
    for _ in range(epochs):
        net.train()
        total = 0
        for i in torch.randperm(len(y)).split(bs):
            loss = F.cross_entropy(net(batch(i)), y[i])
            loss.backward()
            opt.step()
            opt.zero_grad()
            total += loss.detach()*len(i)
        net.eval()
        with torch.no_grad():
            preds = torch.cat([net(val_batch(i)) for i in torch.arange(len(val_y)).split(bs)])
        total.item(), F.cross_entropy(preds, val_y).item(), (preds.argmax(1) == val_y).float().mean().item()


def bare_net(cifar, n, bs, lesson, epochs, times):
    """With imgcourse imported first: how it sets the allocator and the threads speeds up any loop, and the loops are
    what is compared."""
    import imgcourse.all # noqa: F401
    import torch

    def part(name, n):
        x, y = map(torch.from_numpy, small_pictures(f'{cifar}/{name}', n))
        scale, layout = torch.tensor(1/255), torch.channels_last
        return lambda i: (x[i].permute(0, 3, 1, 2)*scale).contiguous(memory_format=layout), y

    net, trn, val = plain_net(lesson), part('train', n), part('test', n//5)
    bare_loop(net, trn, val, bs, 1)
    return {'seconds': median(timed(lambda: bare_loop(net, trn, val, bs, epochs)) for _ in range(times))}


def bare_heads(n, n_val, channels, epochs, times):
    "Heads on features that are tensors."
    from imgcourse.all import make_head
    import torch
    x, y = torch.randn(n + n_val, 2*channels), torch.arange(n + n_val) % 2
    trn, val = (x[:n].__getitem__, y[:n]), (x[n:].__getitem__, y[n:])
    bare_loop(make_head(2*channels, 2), trn, val, 64, 1)
    return {'seconds': timed(lambda: [bare_loop(make_head(2*channels, 2), trn, val, 64, epochs) for _ in range(times)])}


def head_products(n, width, classes, bs, cycles):
    "The products of matrices of `thirty_lines` alone: forward and twice backward in training, forward in validation."
    import torch
    sizes = [width, 2048, 512, classes]
    weights = [torch.randn(o, i) for i, o in pairwise(sizes)]
    n_val = n//10
    n_trn = n - n_val

    def product(w, training):
        v = torch.ones(bs, w.shape[1])
        g = v@w.T
        return (g@w, g.T@v) if training else g

    def cycle():
        for training, items in ((True, n_trn), (False, n_val)):
            for _ in range(-(-items//bs)):
                for w in weights:
                    product(w, training)

    with torch.no_grad():
        cycle()
        return {'seconds': timed(lambda: [cycle() for _ in range(cycles)])}
