"Several labels a picture: the table, the three lines, what the net says, thresholds, and what refuses such data."
import csv
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from imgcourse import share
from imgcourse.all import (
    ConvLearner, ImageClassifierData, Interpretation, Mix, PictureTransform, WeightedLoss, accuracy, best_thresholds,
    draw_several, f1, label_suspects, label_table, lite0, load_learner, set_seed, tfms_from_model)
from imgcourse.quality import same_pictures
from sklearn.metrics import f1_score

TFMS = tfms_from_model(lite0, 96)


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    "240 pictures with several things, and a table."
    return draw_several(tmp_path_factory.mktemp('several')/'set', 240)


def data_of(path, **options):
    told = {'bs': 16, 'tfms': TFMS, 'suffix': '.jpg', 'label_delim': ' ', **options}
    return ImageClassifierData.from_csv(path, 'train', path/'labels.csv', **told)


@pytest.fixture(scope='module')
def data(drawn): return data_of(drawn)


@pytest.fixture(scope='module')
def learn(data):
    set_seed(1)
    found = ConvLearner.pretrained(lite0, data, precompute=True).silent()
    found.fit(.01, 8)
    return found


# ---- the table
def test_the_table_becomes_ones_and_zeros(drawn, data):
    with open(drawn/'labels.csv', newline='') as f:
        told = {row['id']: set(row['labels'].split()) for row in csv.DictReader(f)}
    assert data.several and data.classes == sorted(set().union(*told.values()))
    for ds in (data.trn_ds, data.val_ds):
        for name, y in zip(map(ds.name, range(len(ds))), ds.y):
            assert {c for c, has in zip(data.classes, y) if has} == told[name.split('/')[-1].removesuffix('.jpg')]
    assert data.val_y.dtype == np.float32 and (data.val_y.sum(1) == 0).any(), 'a picture may have none'
    counts = data.class_counts()
    assert counts.valid.sum() == data.val_y.sum()
    assert data.names_of(data.trn_y[data.trn_y.sum(1) == 0][0]) == 'nothing'
    _, y = data.trn_ds[0]
    assert torch.equal(y, torch.tensor(data.trn_y[0])) and next(iter(data.trn_dl))[1].shape == (16, 5)


@pytest.mark.parametrize(('table', 'why'), [
    ('id,labels\n0000,cat\n0001,cat\n0002,\n', 'at least two labels'),
    ('id,labels\n0000,cat dog\n0001,cat\n,dog\n', "column 'id' is empty"),
    ('id,labels\n0000,cat dog\n0001,cat\n0002,mouse\n', 'No training picture has the labels mouse'),
    ('id,labels\n0000,cat;dog\n0001,cat;dog\n0002,cat;dog\n', 'at least two labels'),
])
def test_tables_that_cannot_be(drawn, tmp_path, table, why):
    shutil.copytree(drawn/'train', tmp_path/'train')
    (tmp_path/'labels.csv').write_text(table)
    with pytest.raises(ValueError, match=why):
        data_of(tmp_path, val_idxs=[2])


def test_one_label_a_field_stays_one_class(drawn, tmp_path):
    "Without `label_delim` a field is the name of a class, whatever is in it."
    shutil.copytree(drawn/'train', tmp_path/'train')
    (tmp_path/'labels.csv').write_text('id,labels\n0000,cat dog\n0001,cat\n0002,cat dog\n0003,cat\n')
    data = data_of(tmp_path, label_delim=None, val_idxs=[2])
    assert not data.several and data.classes == ['cat', 'cat dog']


# ---- the net
def test_each_label_is_a_question_of_its_own(learn, data):
    "Probabilities do not add up to 1; the measure is scikit-learn's; the loss is that of yes and no."
    log_preds, y = learn.predict_with_targs()
    probs = np.exp(log_preds)
    assert np.array_equal(y, data.val_y) and not np.allclose(probs.sum(1), 1, atol=.1)
    want = f1_score(y, probs >= .5, average='macro')
    assert learn.history[-1]['f1'] == pytest.approx(want, abs=.02) and want > .7
    assert f1(torch.tensor(log_preds), torch.tensor(y)).item() == pytest.approx(want, abs=1e-4)
    loss = -(y*log_preds + (1 - y)*np.log1p(-probs.clip(0, 1 - 1e-7))).mean()
    assert learn.history[-1]['validation loss'] == pytest.approx(loss, abs=.02)


def test_thresholds(learn, data):
    "Each is the best for its label; the table is scikit-learn's."
    log_preds = learn.predict()
    at = best_thresholds(log_preds, data.val_y)
    table = label_table(data, log_preds, at)
    probs = np.exp(log_preds)
    for k, name in enumerate(data.classes):
        scores = [f1_score(data.val_y[:, k], probs[:, k] >= t) for t in np.linspace(.01, .99, 99)]
        assert table.f1[name] == pytest.approx(f1_score(data.val_y[:, k], probs[:, k] >= at[k]))
        assert table.f1[name] >= max(scores) - 1e-9
    assert (table.f1 >= label_table(data, log_preds).f1 - 1e-9).all()
    with pytest.raises(ValueError, match='of one shape'):
        best_thresholds(log_preds, data.val_y[:, :2])
    assert best_thresholds(log_preds, np.zeros_like(data.val_y)).tolist() == [.5]*5
    with pytest.raises(ValueError, match='need logprobs of each'):
        label_table(data, log_preds[:3])


def test_nets_of_ones_own_and_other_measures(data):
    set_seed(0)
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 5))
    learn = ConvLearner.from_model(model, data, metrics=[f1]).silent()
    learn.fit(.1, 2)
    assert learn.predict().shape == data.val_y.shape and 0 <= learn.history[-1]['f1'] <= 1
    learn.lr_find(num_it=20)
    assert learn.loss_fn(torch.zeros(2, 5), torch.ones(2, 5)).item() == pytest.approx(np.log(2))
    assert F.cross_entropy is ConvLearner.defaults[False][0] and ConvLearner.defaults[False][1] == [accuracy]


def test_all_layers_and_checkpoints(data, tmp_path):
    "What is stopped goes on; nothing of it knows how many labels there are."
    set_seed(0)
    learn = ConvLearner.pretrained(lite0, data, precompute=True).silent()
    learn.models_path = tmp_path
    learn.fit_one_cycle(2, .01, resume=True)
    again = ConvLearner.pretrained(lite0, data, precompute=True).silent()
    again.models_path = tmp_path
    again.fit_one_cycle(2, .01, resume=True)
    assert np.allclose(again.predict(), learn.predict(), atol=1e-5)
    learn.unfreeze()
    learn.fit(1e-4, 1)
    log_preds, y = learn.TTA(2)
    assert log_preds.shape == (3, *y.shape)


# ---- what becomes of it
def test_an_exported_net_knows_it(learn, data, tmp_path, capsys):
    net = load_learner(learn.export(tmp_path/'n.safetensors'))
    files = [data.val_ds.name(i) for i in range(8)]
    assert net.several and np.allclose(np.exp(net.predict(files)), np.exp(learn.predict()[:8]), atol=.05)
    assert net.top(files[0]).probability.iloc[0] == pytest.approx(np.exp(net.predict(files[:1])).max(), abs=1e-5)
    learn.ask(files[0])
    assert '0.' in capsys.readouterr().out
    session = onnxruntime.InferenceSession(learn.export(tmp_path/'n.onnx'), providers=['CPUExecutionProvider'])
    assert session.get_modelmeta().custom_metadata_map['several'] == 'true'
    said = net.look(data.val_ds.picture(0))
    assert np.allclose(said['probs'], np.exp(net.predict([data.val_ds.picture(0)])[0]), atol=1e-4)


@pytest.mark.e2e
def test_in_a_browser(learn, data, tmp_path, browser, ort_web):
    "The page says the same, though the probabilities do not add up to 1."
    from test_share import answered, opened, served
    net = load_learner(learn.export(tmp_path/'n.safetensors'))
    share.publish(net, tmp_path/'page', runtime=ort_web)
    with served(tmp_path/'page') as url, opened(browser, url) as tab:
        tab.set_input_files('#files', data.val_ds.name(1))
        said = answered(tab)
    there = dict(zip(net.classes, np.exp(net.predict([data.val_ds.name(1)])[0])))
    assert len(said) == 5 and all(abs(p - there[name]) < .03 for name, p in said.items())


def test_what_is_for_one_class_a_picture(learn, data):
    "Says so, before it would give nonsense."
    cases = [lambda: Interpretation(data, learn.predict()), lambda: label_suspects(data, lambda d: learn),
             lambda: WeightedLoss(data), lambda: learn.fit(.01, 1, cbs=Mix()),
             lambda: same_pictures(data, torch.ones(240, 4))]
    for case in cases:
        with pytest.raises(ValueError, match=r'one class a picture|one class each'):
            case()


def test_data_are_shown(learn, data):
    import matplotlib.pyplot as plt
    data.show_batch(4)
    learn.show_results(4)
    titles = [ax.get_title() for ax in plt.gcf().axes]
    assert any(c in ' '.join(titles) for c in data.classes)
    plt.close('all')
    assert isinstance(data.val_ds.tfm, PictureTransform)
