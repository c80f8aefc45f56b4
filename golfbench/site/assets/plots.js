// The figures of a track, each with a table of the same numbers.

// Pixels of a letter, and of the line and the gaps beside a name, in a legend.
const LETTER = 6.6;
const BESIDE_NAME = 60;
const OPTIONS = { responsive: true, displayModeBar: false, displaylogo: false, doubleClick: 'reset' };

/** A frame for one figure; `draw(figure, caption)` fills it. */
const plotFrame = (title, label, click) => {
  const area = make('div', { class: 'plot', role: 'img', 'aria-label': label });
  const caption = make('figcaption');
  const holder = make('div');
  const rows = make('details', { toggle: () => fillTable() }, make('summary', {}, 'The numbers as a table'), holder);
  const save = make('button', { type: 'button', class: 'plain', click: () => saveFigure() }, 'Save the figure (SVG)');
  const node = make(
    'section',
    {},
    make('h4', {}, title),
    make('figure', {}, area, caption, make('div', { class: 'tools' }, rows, save)),
  );
  let figure = null;
  const saveFigure = () =>
    Plotly.downloadImage(area, {
      format: 'svg',
      width: 900,
      height: 560,
      filename: title.toLowerCase().replace(/\W+/g, '-'),
    });
  const fillTable = () => {
    if (rows.open && figure) holder.replaceChildren(plainTable(title, figure.headers, figure.rows));
  };
  const draw = (next, text) => {
    figure = next;
    caption.textContent = text;
    node.hidden = Boolean(next.empty);
    fillTable();
    if (next.empty) return;
    const named = next.data.filter((trace) => trace.showlegend !== false).length;
    const longest = Math.max(0, ...next.data.map((trace) => (trace.name || '').length));
    const columns = Math.max(1, Math.floor((area.clientWidth - 60) / (LETTER * longest + BESIDE_NAME)));
    const lines = Math.ceil(named / columns);
    const height = next.layout.height || 320 + 21 * lines;
    area.style.height = `${height}px`;
    Plotly.react(
      area,
      next.data,
      { ...next.layout, height, showlegend: named > 1 },
      OPTIONS,
    ).then(() => {
      area.removeAllListeners('plotly_click');
      area.on('plotly_click', (event) => event.points[0].customdata && click(String(event.points[0].customdata)));
    });
  };
  return { node, draw };
};

const openPoint = (track) => (name) => {
  const molecule = /^molecule (\d+)$/.exec(name);
  if (molecule) go({ molecule: track.molecules[Number(molecule[1])].id });
  else go({ entry: name });
};

/** The section of figures of a track; `filtered()` are the entries that the filters leave. */
const plotsOf = (track, filtered) => {
  const open = openPoint(track);
  const frames = {
    quality: plotFrame(
      'Quality against labels',
      'Quality of each entry against the labels that it has learned from; the table below has the numbers',
      open,
    ),
    speed: plotFrame(
      'Speed against quality',
      'Quality of each entry against the time of a force call; the table below has the numbers',
      open,
    ),
    learning: plotFrame('Learning curves', 'Quality by labels learned from; the table below has the numbers', open),
    steps: plotFrame(
      'Minimization curves',
      'Mean pct by step of the minimization; the table below has the numbers',
      open,
    ),
    spread: plotFrame(
      'Distribution over molecules',
      'Distribution over molecules for each entry; the table below has the quartiles',
      open,
    ),
  };
  const measures = track.measures.map((measure) => [
    measure.name === track.ranked ? '' : measure.name,
    titled(measure),
  ]);
  const cost = make(
    'div',
    {},
    heading(3, 'Quality and cost'),
    make('p', {}, 'The filters above apply to the figures, too. A click on a point opens its entry.'),
    make(
      'div',
      { class: 'tools' },
      choice('Measure', measures, state.measure, (value) => go({ measure: value })),
    ),
    make('div', { class: 'pair' }, frames.quality.node, frames.speed.node, frames.learning.node),
  );
  const molecules = make(
    'div',
    {},
    heading(3, 'Molecule by molecule'),
    make(
      'div',
      { class: 'tools' },
      choice(
        'Number',
        [
          ['', NUMBERS.residual_kcal_mol_all.title],
          ['pct_all', NUMBERS.pct_all.title],
        ],
        state.number,
        (value) => go({ number: value }),
      ),
      choice(
        'Shown as',
        [
          ['', 'Boxes and points'],
          ['ecdf', 'Cumulative curves'],
        ],
        state.plot,
        (value) => go({ plot: value }),
      ),
    ),
    make('div', { class: 'pair' }, frames.spread.node, frames.steps.node),
  );
  const node = make('section', { 'aria-label': 'Figures' }, cost, molecules);

  const symbols = (figure) => (figure.told ? `Colours are models; ${figure.told}. ` : '');
  const draw = () => {
    const entries = filtered();
    const measure = measureOf(track, state.measure || track.ranked);
    const number = state.number === 'pct_all' ? 'pct_all' : 'residual_kcal_mol_all';
    const many = entries.length > MOST_LINES ? ' The best entry of each model; choose others with the filters.' : '';
    const bars =
      entries.length > MOST_BARS
        ? 'Intervals are in the table and at each point.'
        : `Bars: ${content.facts.confidence_pct} % interval.`;
    const better = measure.lower_is_better ? 'Lower is better.' : 'Higher is better.';
    const quality = qualityFigure(track, entries, measure);
    const speed = speedFigure(track, entries, measure);
    const learning = learningFigure(track, entries, measure);
    // A part without a figure has no headline either.
    cost.hidden = [quality, speed, learning].every((figure) => figure.empty);
    molecules.hidden = entries.every((entry) => !entry.quartiles[number]);
    frames.quality.draw(
      quality,
      `${better} ${bars} ${symbols(quality)}Outlined, and the dashed line: on the Pareto front (ranked entries that none beats with as few labels). Dotted: fixed models, which learn from no label. Entries with the same number of labels stand side by side.`,
    );
    frames.speed.draw(
      speed,
      `${better} ${bars} ${symbols(speed)}The time is that of the machine that ran the entry, with whatever else ran there.`,
    );
    frames.learning.draw(learning, `${better} From the baseline (budget 0) on. ${bars} ${symbols(learning)}`);
    // First, since without it the distribution has the whole width.
    frames.steps.draw(
      minimizationFigure(track, entries),
      `Mean over the molecules that finished; bars: lowest and highest seed.${many}`,
    );
    frames.spread.draw(
      (state.plot === 'ecdf' ? ecdfFigure : boxFigure)(track, entries, number),
      `All molecules and seeds. ${state.plot === 'ecdf' ? '' : 'Box: quartiles; whiskers: extremes; crosses: '}${state.plot === 'ecdf' ? 'What ' : 'what '}diverged or failed counts with its start. A click on a point opens its molecule.${many}`,
    );
  };
  return { node, draw };
};
