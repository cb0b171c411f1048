// Asks a net about pictures. It answers in this browser, and nothing is sent; or, where net.json says so, the program on
// this computer that shows the page answers.
const byId = id => document.getElementById(id);
const percent = p => `${(100*p).toFixed(p > .9995 || p < .0005 ? 0 : 1)} %`;

// ---- from a file to the pixels that the net sees, as Pillow and torchvision make them
const kernels = {
    bilinear: [1, x => Math.max(0, 1 - Math.abs(x))],
    bicubic: [2, x => {
        x = Math.abs(x);
        if (x < 1) return (1.5*x - 2.5)*x*x + 1;
        return x < 2 ? ((-.5*x + 2.5)*x - 4)*x + 2 : 0;
    }],
};

// For each of `m` new pixels: the first of the `n` old ones that it is made of, and their weights
function shares(n, m, [reach, kernel]) {
    const scale = n/m, wide = Math.max(scale, 1);
    return Array.from({length: m}, (_, i) => {
        const center = scale*(i + .5);
        const first = Math.max(0, Math.trunc(center - reach*wide + .5));
        const last = Math.min(n, Math.trunc(center + reach*wide + .5));
        const weights = Float64Array.from({length: last - first}, (_, k) => kernel((first + k - center + .5)/wide));
        const sum = weights.reduce((a, b) => a + b, 0);
        return [first, weights.map(w => w/sum)];
    });
}

// One direction of a resize. `pixels` are bytes of three channels; old and new pixels of a line are `step` bytes apart.
function squeezed(pixels, lines, lineStep, newLineStep, step, newStep, all, size) {
    const out = new Uint8ClampedArray(size);
    all.forEach(([first, weights], i) => {
        for (let line = 0; line < lines; line++)
            for (let c = 0; c < 3; c++) {
                let sum = 0;
                for (let k = 0, at = line*lineStep + first*step + c; k < weights.length; k++, at += step)
                    sum += weights[k]*pixels[at];
                out[line*newLineStep + i*newStep + c] = Math.floor(sum + .5);
            }
    });
    return out;
}

function resized({data, width, height}, newWidth, newHeight, kernel) {
    const across = shares(width, newWidth, kernel), down = shares(height, newHeight, kernel);
    const narrow = squeezed(data, height, 3*width, 3*newWidth, 3, 3, across, 3*newWidth*height);
    const small = squeezed(narrow, newWidth, 3, 3, 3*newWidth, 3*newWidth, down, 3*newWidth*newHeight);
    return {data: small, width: newWidth, height: newHeight};
}

const half = x => 2*Math.round(x/2) === x + .5 || 2*Math.round(x/2) === x - .5 ? 2*Math.round(x/2) : Math.round(x); // to even

// The pixels for the net, and which part of the picture they are: left, top, width, height, each from 0 to 1
function prepared(picture, {side, stretch, size: [high, wide], interpolation}) {
    const {width, height} = picture, short = Math.min(width, height), longer = Math.trunc(side*Math.max(width, height)/short);
    let [w, h] = width < height ? [side, longer] : [longer, side];
    if (stretch) [w, h] = stretch;
    const small = resized(picture, w, h, kernels[interpolation]);
    const left = half((w - wide)/2), top = half((h - high)/2), seen = new Uint8Array(3*high*wide);
    for (let y = 0; y < high; y++)
        seen.set(small.data.subarray(3*((top + y)*w + left), 3*((top + y)*w + left + wide)), 3*y*wide);
    return {seen, part: [left/w, top/h, wide/w, high/h]};
}

// A file as a canvas; transparency is laid on white. What is very large is made smaller first.
async function drawn(file) {
    const bitmap = await createImageBitmap(file, {colorSpaceConversion: 'none'});
    const [short, long] = [bitmap.width, bitmap.height].sort((a, b) => a - b);
    if (short < 4 || long > 50*short)
        throw new Error(`a picture of ${bitmap.width}×${bitmap.height} pixels; it needs at least four in each direction, and `
            + 'must not be over 50 times as long as wide');
    const scale = Math.min(1, 4096/Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.round(scale*bitmap.width));
    canvas.height = Math.max(1, Math.round(scale*bitmap.height));
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    pen.imageSmoothingQuality = 'high';
    pen.fillStyle = '#fff';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return canvas;
}

function rgb(canvas) {
    const {width, height} = canvas, {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    const three = new Uint8ClampedArray(3*width*height);
    for (let i = 0, k = 0; i < data.length; i += 4) {
        three[k++] = data[i];
        three[k++] = data[i + 1];
        three[k++] = data[i + 2];
    }
    return {data: three, width, height};
}

// ---- who answers: `{probs, places, part, canvas}`
const sigmoid = x => 1/(1 + Math.exp(-x));

function softmax(logits) {
    if (logits.length === 1) { // one number for two classes
        const p = sigmoid(logits[0]);
        return [1 - p, p];
    }
    const top = logits.reduce((a, b) => Math.max(a, b)), e = Array.from(logits, x => Math.exp(x - top));
    const sum = e.reduce((a, b) => a + b, 0);
    return e.map(x => x/sum);
}

// How much each place speaks for class `c`: its probability there, from numbers `(classes, high, wide)`
function placesOf({data, dims: [, n, high, wide]}, c, toProbs) {
    const at = (k, place) => data[k*high*wide + place];
    const values = Array.from({length: high*wide}, (_, place) =>
        toProbs(Float64Array.from({length: n}, (_, k) => at(k, place)))[c]);
    return {values, high, wide};
}

async function inThisBrowser(told) {
    const ort = await import('./ort.wasm.min.js'), here = name => new URL(name, import.meta.url).href;
    ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
    ort.env.wasm.wasmPaths = {mjs: here('ort-wasm-simd-threaded.js'), wasm: here('ort-wasm-simd-threaded.wasm')};
    const session = await ort.InferenceSession.create(told.net, {executionProviders: ['wasm']});
    const toProbs = told.several ? logits => Array.from(logits, sigmoid) : softmax;
    return async file => {
        const canvas = await drawn(file), {seen, part} = prepared(rgb(canvas), told.prepare);
        const found = await session.run({pixels: new ort.Tensor('uint8', seen, [1, ...told.prepare.size, 3])});
        const probs = toProbs(found.logits.data), best = probs.indexOf(Math.max(...probs));
        return {probs, places: found.places && placesOf(found.places, best, toProbs), part, canvas};
    };
}

async function byTheProgram() {
    return async file => {
        if (file.size > 3e8) throw new Error('it is larger than 300 MB');
        const said = await fetch('ask', {method: 'POST', body: file, headers: {'X-Imgcourse': 'ask'}});
        if (!said.ok) throw new Error(await said.text());
        const {probs, places, part, picture} = await said.json();
        const image = new Image();
        image.src = picture;
        await image.decode();
        return {probs, places, part, canvas: await drawn(image)};
    };
}

// ---- what is shown
function say(text, wrong = false) {
    byId('status').textContent = text;
    byId('status').className = wrong ? 'wrong' : '';
}

function element(tag, text = '', kind = '') {
    const e = document.createElement(tag);
    e.textContent = text;
    e.className = kind;
    return e;
}

const ranked = probs => [...probs.keys()].sort((a, b) => probs[b] - probs[a]);

function showBars(classes, probs) {
    byId('bars').replaceChildren(...ranked(probs).slice(0, 5).map(c => {
        const item = element('li'), words = element('div', '', 'words'), track = element('div', '', 'track');
        words.append(element('span', classes[c]), element('span', percent(probs[c])));
        track.append(element('div', '', 'bar'));
        track.firstChild.style.width = `${100*probs[c]}%`;
        item.append(words, track);
        return item;
    }));
}

function showHeat(canvas, places, [left, top, wide, high]) {
    const heat = byId('heat'), pen = heat.getContext('2d');
    heat.width = canvas.width;
    heat.height = canvas.height;
    byId('looked').hidden = !places;
    if (!places) return;
    const small = document.createElement('canvas'), most = Math.max(...places.values, 1e-12);
    small.width = places.wide;
    small.height = places.high;
    const dots = new ImageData(places.wide, places.high);
    places.values.forEach((v, i) => dots.data.set([255, Math.round(200*(1 - v/most)), 0, Math.round(170*v/most)], 4*i));
    small.getContext('2d').putImageData(dots, 0, 0);
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(small, left*heat.width, top*heat.height, wide*heat.width, high*heat.height);
}

function show(told, name, {probs, places, part, canvas}) {
    const photo = byId('photo'), scale = Math.min(1, 800/Math.max(canvas.width, canvas.height));
    photo.width = Math.max(1, Math.round(scale*canvas.width));
    photo.height = Math.max(1, Math.round(scale*canvas.height));
    photo.getContext('2d').drawImage(canvas, 0, 0, photo.width, photo.height);
    photo.setAttribute('role', 'img');
    photo.setAttribute('aria-label', `The picture ${name}`);
    showHeat(photo, places, part);
    showBars(told.classes, probs);
    byId('name').textContent = name;
    byId('answer').hidden = false;
}

// ---- a table of many
const rows = [];

function addRow(told, name, probs, fault = '') {
    const [a, b] = probs ? ranked(probs) : [];
    const cells = c => c === undefined ? ['', ''] : [told.classes[c], probs[c].toFixed(4)];
    rows.push([name, ...cells(a), ...cells(b), fault]);
    const row = element('tr', '', probs ? '' : 'wrong');
    row.append(...rows.at(-1).map(text => element('td', text)));
    byId('table').querySelector('tbody').append(row);
}

const quoted = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;

function saveTable() {
    const head = ['file', 'class', 'probability', 'second_class', 'second_probability', 'fault'];
    const text = [head, ...rows].map(row => row.map(quoted).join(',') + '\n').join('');
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], {type: 'text/csv'}));
    link.download = 'answers.csv';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// ---- asking
let queue = Promise.resolve(), stopped = false; // one after the other, however often somebody drops something

function askAbout(told, answer, files) {
    queue = queue.then(() => files.length > 1 ? askMany(told, answer, files) : askOne(told, answer, files[0])).finally(() => {
        document.body.dataset.asked = Number(document.body.dataset.asked || 0) + 1;
    });
}

const nameOf = file => file.path || file.webkitRelativePath || file.name;
const faultOf = e => ['InvalidStateError', 'EncodingError'].includes(e.name)
    ? 'this browser cannot read it as a picture' : e.message;

async function askOne(told, answer, file) {
    const start = performance.now();
    byId('answer').hidden = true;
    say(`${nameOf(file)} …`);
    try {
        show(told, nameOf(file), await answer(file));
        say(`Answered in ${((performance.now() - start)/1000).toFixed(2)} s.`);
    } catch (e) {
        say(`${nameOf(file)}: ${faultOf(e)}`, true);
    }
}

// A new table takes the place of the last one; the first picture that can be read is shown
async function askMany(told, answer, files) {
    let right = 0;
    rows.length = 0;
    stopped = false;
    byId('answer').hidden = true;
    byId('table').querySelector('tbody').replaceChildren();
    byId('table').hidden = false;
    byId('save').disabled = true;
    byId('halt').hidden = false;
    for (const [i, file] of files.entries()) {
        if (stopped) break;
        if (i % 10 === 0) say(`${i} of ${files.length} …`);
        try {
            const said = await answer(file);
            if (!right) show(told, nameOf(file), said);
            addRow(told, nameOf(file), said.probs);
            right++;
        } catch (e) {
            addRow(told, nameOf(file), null, faultOf(e));
        }
    }
    byId('save').disabled = false;
    byId('halt').hidden = true;
    say(`${right} of ${files.length} pictures answered.`);
}

// ---- files and camera
function chosen(told, list) {
    const files = [...list], known = name => told.suffixes.some(s => name.toLowerCase().endsWith(s));
    return files.length > 1 ? files.filter(f => f.type.startsWith('image/') || known(f.name)) : files;
}

// What was dropped; of folders all files in them, also those in folders
async function dropped(transfer) {
    const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean), files = [];
    if (!entries.length) return [...transfer.files];
    const walk = async entry => {
        if (entry.isFile) {
            const file = await new Promise((good, bad) => entry.file(good, bad));
            file.path = entry.fullPath.slice(1);
            files.push(file);
            return;
        }
        const reader = entry.createReader();
        for (let some; (some = await new Promise((good, bad) => reader.readEntries(good, bad))).length;)
            for (const inside of some) await walk(inside);
    };
    for (const entry of entries) await walk(entry);
    return files;
}

async function useCamera(ask) {
    const video = byId('live').querySelector('video');
    let stream;
    byId('stop').onclick?.();
    try {
        stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment'}});
    } catch (e) {
        say(navigator.mediaDevices ? `The camera cannot be used: ${e.message}` : 'The camera can be used on pages of https '
            + 'and of this computer alone.', true);
        return;
    }
    video.srcObject = stream;
    await video.play();
    byId('live').hidden = false;
    const stop = () => {
        stream.getTracks().forEach(track => track.stop());
        byId('live').hidden = true;
    };
    byId('stop').onclick = stop;
    byId('snap').onclick = () => {
        const canvas = document.createElement('canvas');
        canvas.width = video.videoWidth;
        canvas.height = video.videoHeight;
        canvas.getContext('2d').drawImage(video, 0, 0);
        stop();
        canvas.toBlob(blob => ask([new File([blob], 'photo.png', {type: 'image/png'})]));
    };
}

function wire(told, ask) {
    byId('choose').onclick = () => byId('files').click();
    byId('folder').onclick = () => byId('all').click();
    for (const id of ['files', 'all'])
        byId(id).onchange = e => {
            ask(chosen(told, e.target.files));
            e.target.value = '';
        };
    byId('camera').onclick = () => useCamera(ask);
    byId('save').onclick = saveTable;
    byId('halt').onclick = () => { stopped = true; };
    byId('show').onchange = e => { byId('heat').hidden = !e.target.checked; };
    for (const button of document.querySelectorAll('#examples button'))
        button.onclick = async () => {
            const said = await fetch(button.dataset.file);
            if (!said.ok) return say(`${button.dataset.file} is not there`, true);
            const blob = await said.blob();
            ask([new File([blob], button.dataset.file.split('/').pop(), {type: blob.type})]);
        };
    document.addEventListener('drop', async e => ask(chosen(told, await dropped(e.dataTransfer))));
    document.addEventListener('paste', e => {
        if (e.clipboardData.files.length) ask(chosen(told, e.clipboardData.files));
    });
}

for (const kind of ['dragover', 'dragleave', 'drop']) // else the browser would open what is dropped, and leave the page
    document.addEventListener(kind, e => {
        e.preventDefault();
        byId('drop').classList.toggle('over', kind === 'dragover');
    });

const setEnabled = on => document.querySelectorAll('button').forEach(b => { b.disabled = !on; });

try {
    setEnabled(false);
    const told = await (await fetch('net.json', {cache: 'no-cache'})).json();
    if (told.megabytes) say(`Loading the net (${told.megabytes} MB, once) …`);
    const answer = await (told.engine === 'program' ? byTheProgram() : inThisBrowser(told));
    wire(told, files => files.length ? askAbout(told, answer, files) : say('There are no pictures among these.', true));
    setEnabled(true);
    say('Ready.');
    document.body.dataset.state = 'ready';
} catch (e) {
    say(`The net could not be loaded: ${e.message}. (A page like this has to come from a server; in its folder, `
        + '"python -m http.server" is one.)', true);
    document.body.dataset.state = 'failed';
}
