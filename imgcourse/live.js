// What makes the live figures of the course move: no kernel, no library, no other file.
// imgcourse.live writes a still into the HTML of a figure and embeds this file below it, with a call of live.
// The still is what one sees where no scripts run, on paper say; here it gets its fields and buttons.
//
// This file has no dollar signs and no backticks: they could be taken for math or Markdown where it is embedded.

// Bring a figure to life. kind is the name of a function below. A page may have the same figure twice, and JupyterLab
// may show a notebook in two windows: each call takes one still that no call has taken yet.
function live(key, kind, data) {
  const stills = [...document.querySelectorAll('[data-live="' + key + '"]')];
  const root = stills.find(still => !still.isLive);
  if (root) {
    root.isLive = true;
    keepKeys(root);
    ({player, kernelGrid, note})[kind](root, data);
  }
}

// The arrows move a slider here, and not from cell to cell: JupyterLab, which listens first, does not get to know of
// keys that are pressed in a figure, but for those with Ctrl and the like.
function keepKeys(root) {
  window.addEventListener('keydown', event => {
    const more = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
    if (root.contains(event.target) && !more) event.stopPropagation();
  }, true);
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Pictures one after the other: a slider, and if they play, buttons.
// pictures are addresses; the one at start is empty, for it is in the still already. label is the slider's.
function player(root, {pictures, titles, alt, label, start, plays}) {
  const picture = root.querySelector('img'), caption = root.querySelector('figcaption');
  const last = pictures.length - 1;
  const slider = element('input', {type: 'range', min: 0, max: last, value: start, 'aria-label': label});
  let clock = null;
  pictures[start] = picture.src;

  function show(i) {
    i = Math.min(Math.max(i, 0), last);
    slider.value = i;
    slider.setAttribute('aria-valuetext', titles[i]);
    picture.src = pictures[i];
    picture.alt = alt + ': ' + titles[i];
    caption.textContent = titles[i];
  }

  function stop() {
    clearInterval(clock);
    clock = null;
    play.textContent = 'Play';
  }

  function go() {
    if (slider.valueAsNumber === last) show(0);
    play.textContent = 'Pause';
    clock = setInterval(() => {
      show(slider.valueAsNumber + 1);
      if (slider.valueAsNumber === last || !root.isConnected) stop();
    }, 600);
  }

  function button(text, action) {
    const made = element('button', {type: 'button'}, text);
    made.addEventListener('click', action);
    return made;
  }

  function step(by) {
    stop();
    show(slider.valueAsNumber + by);
  }

  const play = button('Play', () => clock ? stop() : go());
  const back = button('Back', () => step(-1)), next = button('Next', () => step(1));
  slider.addEventListener('input', () => step(0));
  const controls = plays ? [play, back, slider, next] : [element('span', {}, label), slider];
  caption.before(element('div', {class: 'controls'}, ...controls));
  caption.setAttribute('aria-live', 'polite');
  show(start);
}

// Nine numbers that slide over a gray picture, and the sums of their products with it.
// kernel has nine numbers; known has such nines by their names.
function kernelGrid(root, {kernel, known}) {
  const [picture, still] = root.querySelectorAll('img');
  const sums = element('canvas', {role: 'img', 'aria-label': still.alt, style: still.getAttribute('style')});
  const fields = [...root.querySelectorAll('.nine span')].map((number, i) => {
    const place = 'row ' + (Math.floor(i/3) + 1) + ', column ' + (i%3 + 1);
    const field = element('input', {type: 'number', step: .5, 'aria-label': place});
    number.replaceWith(field);
    field.addEventListener('input', () => {
      kernel[i] = field.valueAsNumber || 0;
      paint();
    });
    return field;
  });
  const names = ['your own', ...Object.keys(known)];
  const list = element('select', {'aria-label': 'known kernels'}, ...names.map(name => element('option', {}, name)));
  list.addEventListener('change', () => {
    if (known[list.value]) write(known[list.value]);
  });
  root.querySelector('.nine').after(list);

  function write(numbers) {
    kernel = [...numbers];
    fields.forEach((field, i) => { field.value = +kernel[i].toFixed(3); });
    paint();
  }

  function paint() {
    const top = Math.max(1, ...kernel.map(Math.abs));
    fields.forEach((field, i) => {
      const color = kernel[i] > 0 ? '40, 120, 180' : '220, 60, 40'; // blue above zero, red below
      field.style.background = 'rgba(' + color + ', ' + Math.abs(kernel[i])/top/2 + ')';
    });
    list.value = names.find(name => known[name] && known[name].every((v, i) => v === kernel[i])) || names[0];
    slide(grayOf(picture), kernel, sums);
  }

  picture.decode().then(() => {
    write(kernel);
    still.replaceWith(sums);
  });
}

function grayOf(picture) {
  const width = picture.naturalWidth, height = picture.naturalHeight;
  const page = element('canvas', {width, height}).getContext('2d');
  page.drawImage(picture, 0, 0);
  const colors = page.getImageData(0, 0, width, height).data; // red, green, blue and opacity of each pixel
  return {width, height, values: Float32Array.from({length: width*height}, (_, i) => colors[4*i]/255)};
}

// At each place the sum of nine products: -1 becomes black, 0 gray, 1 white.
function slide({width, height, values}, kernel, canvas) {
  canvas.width = width - 2;
  canvas.height = height - 2;
  const page = canvas.getContext('2d'), image = page.createImageData(canvas.width, canvas.height);
  image.data.fill(255);
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      let sum = 0;
      for (let i = 0; i < 9; i++) sum += kernel[i]*values[(y + Math.floor(i/3))*width + x + i%3];
      image.data.fill(Math.round((sum + 1)*127.5), 4*(y*canvas.width + x), 4*(y*canvas.width + x) + 3);
    }
  }
  page.putImageData(image, 0, 0);
}

// What stands in for a widget of ipywidgets where that is gone. A living widget has the class widget.
// In its place a notebook that was opened again shows plain text: that a widget is being loaded, or an error.
function note(root, {widget}) {
  const area = root.closest('.jp-OutputArea') || document.body;
  let waits = true; // a widget that has only just been made needs a moment

  function look() {
    const outputs = [...area.querySelectorAll('.jp-OutputArea-output')];
    const dead = outputs.filter(o => !o.firstElementChild && o.textContent.includes('widget'));
    for (const output of outputs) output.style.display = dead.includes(output) ? 'none' : '';
    const lives = area.querySelector('.' + widget);
    root.style.display = lives || (waits && dead.length) ? 'none' : '';
  }

  new MutationObserver(look).observe(area, {childList: true, subtree: true, characterData: true});
  look();
  setTimeout(() => {
    waits = false;
    look();
  }, 1000);
}
