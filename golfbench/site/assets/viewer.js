// A small viewer of molecules: balls and sticks on a two-dimensional canvas.

const ELEMENTS = {
  H: ['#e9edf0', 0.24],
  C: ['#71777d', 0.36],
  N: ['#4a6fe3', 0.36],
  O: ['#e0392b', 0.35],
  F: ['#7fc14b', 0.33],
  S: ['#d9b323', 0.44],
  P: ['#ef8b1e', 0.44],
  Cl: ['#3fae49', 0.42],
  Br: ['#a0522d', 0.46],
  I: ['#8a4bb8', 0.5],
  B: ['#e3a7a7', 0.38],
  Si: ['#c9a07a', 0.46],
};
const OTHER = ['#d16ba5', 0.45];
const KINDS = {
  end: { title: 'End point', colour: null },
  reference: { title: 'Reference minimum', colour: '#009e73' },
  start: { title: 'Start', colour: '#0072b2' },
};
// Elements of light colours, which take dark letters.
const LIGHT = new Set(['F', 'S', 'P', 'B', 'Si']);
const TURN = 0.16;

/** Turn a rotation (rows of a 3 × 3 matrix) about the axes of the screen. */
const turned = (rotation, about, angle) => {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const by =
    about === 'x'
      ? [1, 0, 0, 0, c, -s, 0, s, c]
      : about === 'y'
        ? [c, 0, s, 0, 1, 0, -s, 0, c]
        : [c, -s, 0, s, c, 0, 0, 0, 1];
  return Array.from({ length: 9 }, (_, k) => {
    const [row, column] = [Math.floor(k / 3), k % 3];
    return (
      by[3 * row] * rotation[column] + by[3 * row + 1] * rotation[3 + column] + by[3 * row + 2] * rotation[6 + column]
    );
  });
};

/** A viewer; `show(structures, symbols, label)` draws structures {kind, positions, bonds}, the first as balls and sticks. */
const viewer = () => {
  const canvas = make('canvas', { tabindex: '0', role: 'img', 'aria-label': 'Three-dimensional view' });
  const pointers = new Map();
  let [rotation, zoom, structures, symbols, radius, scaleNow, asked] = [
    [1, 0, 0, 0, 1, 0, 0, 0, 1],
    1,
    [],
    [],
    5,
    1,
    false,
  ];
  const redraw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      paint();
    });
  };
  const turn = (about, angle) => {
    rotation = turned(rotation, about, angle);
    redraw();
  };
  const scale = (factor) => {
    zoom = Math.min(8, Math.max(0.3, zoom * factor));
    redraw();
  };
  const reset = () => {
    rotation = [1, 0, 0, 0, 1, 0, 0, 0, 1];
    zoom = 1;
    redraw();
  };

  const paint = () => {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const brush = canvas.getContext('2d');
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = theme();
    scaleNow = (zoom * Math.min(width, height) * 0.49) / radius;
    const parts = structures.flatMap((structure, n) => partsOf(structure, n === 0, scaleNow, [width / 2, height / 2]));
    parts.sort((a, b) => a.depth - b.depth).forEach((part) => part.draw(brush, colours));
  };
  const project = (positions, pixels, [x0, y0]) =>
    Array.from({ length: positions.length / 3 }, (_, n) => {
      const [x, y, z] = positions.subarray(3 * n, 3 * n + 3);
      const at = (row) => rotation[3 * row] * x + rotation[3 * row + 1] * y + rotation[3 * row + 2] * z;
      const near = 1 / (1 - Math.max(-0.9, Math.min(0.9, at(2) / (radius * 6))));
      return { x: x0 + at(0) * pixels * near, y: y0 - at(1) * pixels * near, z: at(2), near };
    });
  const partsOf = (structure, main, pixels, centre) => {
    const points = project(structure.positions, pixels, centre);
    const stick = (main ? 0.13 : 0.1) * pixels;
    const balls = points.map((point, n) => ({
      depth: point.z,
      draw: (brush, colours) => {
        const [colour, size] = ELEMENTS[symbols[n]] || OTHER;
        if (main) ball(brush, point, colour, size * pixels * point.near, colours);
        else ball(brush, point, KINDS[structure.kind].colour, stick * 0.55 * point.near, null);
        if (main && symbols[n] !== 'C' && symbols[n] !== 'H' && size * pixels > 8)
          letter(brush, point, symbols[n], size * pixels);
      },
    }));
    const halves = structure.bonds.flatMap(([i, j]) => {
      const [a, b] = [points[i], points[j]];
      const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, z: (a.z + b.z) / 2 };
      return [
        [a, i],
        [b, j],
      ].map(([centre, atom]) => {
        const [colour, size] = ELEMENTS[symbols[atom]] || OTHER;
        const from = main ? surface(centre, middle, size) : centre;
        const tint = main ? colour : KINDS[structure.kind].colour;
        const draw = (brush, colours) => {
          if (main) line(brush, from, middle, stick + 2, colours.strong);
          line(brush, from, middle, stick, tint);
        };
        return { depth: (from.z + middle.z) / 2, draw };
      });
    });
    return [...halves, ...balls];
  };
  /** Where a stick leaves its ball: from the middle of the ball it would cover the letter of a nearer bond. */
  const surface = (centre, middle, size) => {
    const length = Math.hypot(
      ...['x', 'y'].map((axis) => (middle[axis] - centre[axis]) / scaleNow),
      middle.z - centre.z,
    );
    const part = Math.min(0.9, (0.85 * size) / (length || 1));
    return Object.fromEntries(
      ['x', 'y', 'z'].map((axis) => [axis, centre[axis] + part * (middle[axis] - centre[axis])]),
    );
  };
  const line = (brush, a, b, width, colour) => {
    brush.strokeStyle = colour;
    brush.lineWidth = width;
    brush.lineCap = 'round';
    brush.beginPath();
    brush.moveTo(a.x, a.y);
    brush.lineTo(b.x, b.y);
    brush.stroke();
  };
  const ball = (brush, point, colour, size, outline) => {
    brush.beginPath();
    brush.arc(point.x, point.y, Math.max(size, 0.5), 0, 2 * Math.PI);
    brush.fillStyle = colour;
    brush.fill();
    if (!outline) return;
    brush.strokeStyle = outline.strong;
    brush.lineWidth = 1;
    brush.stroke();
  };
  const letter = (brush, point, symbol, size) => {
    brush.fillStyle = LIGHT.has(symbol) ? '#14191f' : '#ffffff';
    brush.font = `600 ${Math.round(Math.min(1.2 * size, 18))}px system-ui, sans-serif`;
    brush.textAlign = 'center';
    brush.textBaseline = 'middle';
    brush.fillText(symbol, point.x, point.y);
  };

  const distance = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y) || 1;
  };
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener('pointermove', (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const before = pointers.size === 2 ? distance() : 0;
    const now = { x: event.clientX, y: event.clientY };
    pointers.set(event.pointerId, now);
    if (pointers.size === 1) {
      rotation = turned(turned(rotation, 'y', (now.x - last.x) * 0.01), 'x', (now.y - last.y) * 0.01);
      redraw();
    } else if (pointers.size === 2) scale(distance() / before);
  });
  ['pointerup', 'pointercancel', 'lostpointercapture'].forEach((name) =>
    canvas.addEventListener(name, (event) => pointers.delete(event.pointerId)),
  );
  canvas.addEventListener(
    'wheel',
    (event) => {
      // Without the key the page scrolls on, as a person expects who only passes over the view.
      if (!event.ctrlKey && document.activeElement !== canvas) return;
      event.preventDefault();
      scale(event.deltaY < 0 ? 1.1 : 1 / 1.1);
    },
    { passive: false },
  );
  const keys = {
    ArrowLeft: () => turn('y', -TURN),
    ArrowRight: () => turn('y', TURN),
    ArrowUp: () => turn('x', -TURN),
    ArrowDown: () => turn('x', TURN),
    '+': () => scale(1.15),
    '=': () => scale(1.15),
    '-': () => scale(1 / 1.15),
    0: reset,
    ',': () => turn('z', TURN),
    '.': () => turn('z', -TURN),
  };
  canvas.addEventListener('keydown', (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  new ResizeObserver(redraw).observe(canvas);

  const show = (given, elements, label) => {
    [structures, symbols] = [given, elements];
    const lengths = given.flatMap(({ positions }) =>
      Array.from({ length: positions.length / 3 }, (_, n) => Math.hypot(...positions.subarray(3 * n, 3 * n + 3))),
    );
    radius = Math.min(40, Math.max(2.5, ...lengths)) + 0.6;
    canvas.setAttribute('aria-label', label);
    redraw();
  };
  const button = (text, name, action) =>
    make('button', { type: 'button', 'aria-label': name, title: name, click: action }, text);
  const node = make(
    'div',
    { class: 'viewer' },
    canvas,
    make(
      'div',
      { class: 'turn', role: 'group', 'aria-label': 'Turn the view' },
      button('←', 'Turn left', keys.ArrowLeft),
      button('→', 'Turn right', keys.ArrowRight),
      button('↑', 'Turn up', keys.ArrowUp),
      button('↓', 'Turn down', keys.ArrowDown),
      button('+', 'Larger', keys['+']),
      button('−', 'Smaller', keys['-']),
      button('Reset', 'Reset the view', reset),
    ),
  );
  return { node, show, redraw };
};
