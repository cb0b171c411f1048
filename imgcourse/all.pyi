# Written by tests/stubs.py from the finished classes; not to be edited.
import os
from pathlib import Path
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.data import chelsea
from skimage.data import coffee
from torch import nn
from imgcourse.files import *
from imgcourse.sketches import contact_sheet
from imgcourse.sketches import draw_breed
from imgcourse.sketches import draw_sketch
from imgcourse.sketches import make_sketches
from imgcourse.sketches import painters
from imgcourse.sketches import shapes
from imgcourse.sketches import sketchsets
from imgcourse.pictures import *
from imgcourse.live import *
from imgcourse.transforms import *
from imgcourse.batches import *
from imgcourse.sources import *
from imgcourse.engines import *
from imgcourse.features import *
from imgcourse.data import *
from imgcourse.learner import *
from imgcourse.checkpoint import *
from imgcourse.interpret import *
from imgcourse.schedule import *
from imgcourse.finetune import *
from imgcourse.breeds import *
from imgcourse.ondevice import *
from imgcourse.nets import *
from imgcourse.playground import *
from imgcourse.tensorboard import *
from imgcourse.own import *
from imgcourse.quality import *
from imgcourse.recipes import *
from imgcourse.several import *
from imgcourse.export import *
from imgcourse.report import *
from imgcourse.train import *
from imgcourse.inside import *
from imgcourse.share import *
from imgcourse.hub import *
from imgcourse.exercises import check
from imgcourse.exercises import progress

__all__ = [
    'Add', 'ArrayDataset', 'Average', 'Averages', 'Backbone', 'BatchTransform', 'BnFreeze', 'Callback', 'Checkpoint',
    'Classifier', 'Cleaner', 'Clip', 'Comparison', 'ConcatPool', 'ConvLayer', 'ConvLearner', 'ConvNet', 'ConvNet2',
    'DownloadError', 'EarlyStopping', 'F', 'FastNet', 'FeatureDataset', 'FeatureStore', 'Features', 'FileDataset',
    'FreeCores', 'Frozen', 'FullSet', 'GlobalMaxPool2d', 'Image', 'ImageClassifierData', 'InOrder', 'Interpretation',
    'KerasNet', 'KerasProgress', 'LRFinder', 'LayerRow', 'Learner', 'MaxNormLinear', 'MemoryTooSmall', 'Metrics',
    'MirroredRotation', 'Mix', 'NormLayer', 'NormRes', 'Path', 'Peaks', 'PictureDataset', 'PictureError',
    'PictureTransform', 'PlainNet', 'Playground', 'Progress', 'ProgressBar', 'Quiz', 'ResLayer', 'ResNet', 'SaveBest',
    'SaveCycles', 'Scale', 'Schedule', 'ShortNet', 'Shuffle', 'SimpleNet', 'StopAfter', 'StopAtNaN', 'StopFit',
    'Suggestion', 'TensorBoard', 'TensorPictures', 'Track', 'TrainingAccuracy', 'TrautNet', 'WeightedLoss',
    'WeightsError', 'accuracy', 'accuracy_np', 'activations', 'alternating_flip', 'as_picture', 'balanced_accuracy',
    'best_thresholds', 'binary_loss', 'build_net', 'cache_dir', 'check', 'check_folder', 'check_number',
    'check_pictures', 'chelsea', 'classifier', 'coffee', 'collect_pictures', 'contact_sheet', 'conv_layers',
    'create_backbone', 'create_net', 'cutout', 'dense_head', 'dn121', 'dn169', 'dots', 'doubtful_labels', 'download',
    'draw_breed', 'draw_several', 'draw_sketch', 'f1', 'fast_dtype', 'features', 'features_of', 'fold_batchnorm',
    'frames', 'full_sets', 'get_cv_idxs', 'get_dataset', 'heat_map', 'hide_pixels', 'keep_random_state', 'keras_kinds',
    'keras_nets', 'kernel_grid', 'kernels', 'label_suspects', 'label_table', 'last_maps', 'layer_rows', 'lesson',
    'list_pictures', 'lite0', 'load_learner', 'log_loss', 'log_odds', 'logprobs', 'make_head', 'make_sketches',
    'metrics', 'model_cfg', 'nn', 'np', 'on_board_weights', 'os', 'over_seeds', 'painters', 'pd', 'photos_on_board',
    'pick_picture', 'pictures_by_class', 'plot_bars', 'plt', 'progress', 'publish', 'push_to_hub', 'random_crop',
    'random_flip', 'random_shift', 'random_state', 'rate_figure', 'read_folder', 'read_picture', 'read_whole', 'report',
    'resnet101', 'resnet152', 'resnet18', 'resnet34', 'resnet50', 'resnext101', 'resnext101_64', 'resnext50',
    'same_pictures', 'serve', 'set_random_state', 'set_seed', 'shapes', 'sharp_figures', 'show_activations',
    'show_answers', 'show_filters', 'show_heat', 'show_heat_maps', 'show_images', 'show_lists', 'show_widget',
    'sketchsets', 'slide', 'smooth', 'spread_rates', 'submission', 'summary', 'tfms_from_model', 'to_clean', 'to_rgb',
    'torch', 'train_folder', 'transforms_basic', 'transforms_shear_zoom', 'transforms_side_on', 'transforms_top_down',
    'unpack', 'untouched', 'vgg16', 'vgg19',
]
