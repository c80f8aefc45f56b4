// Figures as Plotly's JSON, each with the same numbers as a table. Nothing is computed but positions on paper.

// Okabe and Ito (2008) without black and yellow, which vanish on one of the two backgrounds.
const PALETTE = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6bb1', '#7f7f7f'];
const SYMBOLS = ['circle', 'square', 'diamond', 'triangle-up', 'x', 'star', 'pentagon', 'triangle-down'];
const DASHES = ['solid', 'dash', 'dot', 'dashdot', 'longdash'];
const SYMBOL_WORDS = ['circle', 'square', 'diamond', 'triangle', 'cross', 'star', 'pentagon', 'triangle on its tip'];
// Entries that one figure of many lines or boxes can show and still be read, and names that a legend can hold.
const MOST_LINES = 8;
const MOST_NAMES = 8;
// Points of a figure that can have bars and still be told apart.
const MOST_BARS = 40;
// Numbers of labels farther apart than this factor are shown on a logarithmic axis.
const WIDE = 10;
// Share of such an axis between two numbers that are written at it.
const TICKS_APART = 0.06;
// Points with the same number of labels stand side by side: share of the axis between two, and for all of them.
const [BESIDE, ALL_BESIDE] = [0.02, 0.16];

/** A text for Plotly, which would take some tags for markup. */
const plain = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const among = (list, values, value) => list[Math.max(values.indexOf(value), 0) % list.length];
const distinct = (values) => [...new Set(values)];

const theme = () => {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: colour('text'),
    muted: colour('muted'),
    grid: colour('grid'),
    back: colour('back'),
    strong: colour('strong'),
  };
};

const layout = (x, y, extra = {}) => {
  const colours = theme();
  const axis = { gridcolor: colours.grid, zerolinecolor: colours.strong, linecolor: colours.strong, automargin: true };
  return {
    paper_bgcolor: colours.back,
    plot_bgcolor: colours.back,
    margin: { l: 50, r: 12, t: 10, b: 40 },
    autosize: true,
    font: {
      color: colours.text,
      size: 12.5,
      family: 'system-ui, "Segoe UI", Roboto, "DejaVu Sans", Arial, sans-serif',
    },
    xaxis: { ...axis, ...x },
    yaxis: { ...axis, ...y },
    legend: { orientation: 'h', yref: 'container', y: 0, yanchor: 'bottom', x: 0, maxheight: 0.8, font: { size: 11.5 } },
    hovermode: 'closest',
    dragmode: window.matchMedia('(pointer: coarse)').matches ? false : 'zoom',
    ...extra,
  };
};

const intervalText = (number, decimals) =>
  number.value === null
    ? MISSING
    : `${fixed(number.value, decimals)} [${fixed(number.low, decimals)}, ${fixed(number.high, decimals)}]`;
const errorBars = (numbers, visible = true) => ({
  type: 'data',
  symmetric: false,
  thickness: 1.2,
  width: 4,
  visible,
  array: numbers.map((n) => n.high - n.value),
  arrayminus: numbers.map((n) => n.value - n.low),
});

/** An axis of labels from zero on: linear, or like log(1 + x) where their numbers are far apart. */
const labelAxis = (entries) => {
  const title = 'Labels learned from in all';
  const numbers = distinct([0, ...entries.map((entry) => entry.labels_in_all)]);
  const positive = numbers.filter((number) => number > 0);
  const [least, most] = [Math.min(...positive, Infinity), Math.max(1, ...positive)];
  const far = most / least > WIDE;
  const at = far ? (x) => Math.log2(1 + x / least) : (x) => x;
  const apart = numbers
    .sort((a, b) => a - b)
    .reduce((kept, x) => (kept.length && at(x) - at(kept.at(-1)) < TICKS_APART * at(most) ? kept : [...kept, x]), []);
  const ticks = far ? { tickvals: apart.map(at), ticktext: apart.map(short) } : {};
  return {
    at,
    end: at(most) * 1.04,
    axis: {
      title: { text: far ? `${title} (logarithmic)` : title },
      range: [-0.1 * at(most), 1.1 * at(most)],
      ...ticks,
    },
  };
};

/** Where each entry is drawn, so that none hides another at the same place. */
const sideBySide = (entries, where, length) => {
  return (entry) => {
    const company = entries.filter((other) => where(other) === where(entry));
    const gap = length * Math.min(BESIDE, ALL_BESIDE / company.length);
    return where(entry) + gap * (company.indexOf(entry) - (company.length - 1) / 2);
  };
};

const pairOf = (entry) => `${entry.title} · ${selectionOf(entry)}`;

/** Entries by the ranked number, the best one first, those without it last. */
const bestFirst = (track, entries) => {
  const sign = track.lower_is_better ? 1 : -1;
  const key = (entry) => sign * (entry.estimates[track.ranked].value ?? sign * Infinity);
  return [...entries].sort((a, b) => key(a) - key(b) || a.place - b.place);
};

/** The entries of a figure with a line or a box for each: all, or the best one of each model. */
const lineEntries = (track, entries) => {
  if (entries.length <= MOST_LINES) return entries;
  const seen = new Set();
  const first = (entry) => !seen.has(entry.title) && seen.add(entry.title);
  return bestFirst(track, entries).filter(first).slice(0, MOST_LINES);
};

/**
 * Colours by model, symbols and dashes by selection. A legend names models only: of more than it can hold it names the
 * best ones, and the others are grey. Fixed models stand after those that learn.
 */
const looks = (track) => {
  const learning = bestFirst(
    track,
    track.entries.filter((entry) => entry.stage !== 'reference'),
  );
  const models = distinct(learning.map((entry) => entry.title));
  const named = models.length > MOST_NAMES ? models.slice(0, MOST_NAMES - 1) : models;
  const all = distinct([...named, ...track.entries.filter((e) => e.stage === 'reference').map((entry) => entry.title)]);
  const selections = distinct(learning.map(selectionOf)).sort(compare);
  const isOther = (entry) => entry.stage !== 'reference' && !named.includes(entry.title);
  return {
    name: (entry) => (isOther(entry) ? 'other models' : entry.title),
    colour: (entry) => (isOther(entry) ? theme().muted : among(PALETTE, all, entry.title)),
    symbol: (entry) => among(SYMBOLS, selections, selectionOf(entry)),
    dash: (entry) => among(DASHES, selections, selectionOf(entry)),
    symbolsTold: (entries) =>
      selections
        .filter((selection) => entries.some((entry) => selectionOf(entry) === selection))
        .map((selection) => `${among(SYMBOL_WORDS, selections, selection)}: ${selection}`)
        .join(', '),
  };
};

/** A colour for each line: that of its model while no two are the same. */
const lineColours = (track, entries) => {
  const colours = entries.map(looks(track).colour);
  return distinct(colours).length === colours.length ? colours : entries.map((_, n) => PALETTE[n % PALETTE.length]);
};

/** The words at a point of an entry. */
const pointText = (entry, measure, ...more) =>
  [
    plain(entry.name),
    `${intervalText(entry.estimates[measure.name], measure.decimals)} ${measure.unit}`,
    ...more,
    overlapUnknown(entry) && '⚠ overlap with the test molecules unknown',
  ]
    .filter(Boolean)
    .join('<br>');

/** Quality against labels in all; fixed models, which learn from none, are lines across. */
const qualityFigure = (track, entries, measure) => {
  const look = looks(track);
  const number = (entry) => entry.estimates[measure.name];
  const known = entries.filter((entry) => number(entry).value !== null);
  const priced = known.filter((entry) => entry.stage !== 'reference');
  const front = track.fronts[measure.name]
    .map((id) => priced.find((entry) => entry.entry_id === id))
    .filter(Boolean)
    .sort((a, b) => a.labels_in_all - b.labels_in_all);
  const { at, end, axis } = labelAxis(priced);
  const onFront = new Set(track.fronts[measure.name]);
  const place = sideBySide(priced, (entry) => at(entry.labels_in_all), axis.range[1]);
  const groups = distinct(bestFirst(track, priced).map(look.name));
  const data = groups.map((group) => {
    const members = priced.filter((entry) => look.name(entry) === group);
    return {
      type: 'scatter',
      mode: 'markers',
      name: plain(group),
      x: members.map(place),
      y: members.map((entry) => number(entry).value),
      error_y: errorBars(members.map(number), known.length <= MOST_BARS),
      customdata: members.map((entry) => entry.entry_id),
      hoverinfo: 'text',
      hovertext: members.map((entry) =>
        pointText(
          entry,
          measure,
          `${short(entry.labels_in_all)} labels in all`,
          onFront.has(entry.entry_id) && 'on the Pareto front',
        ),
      ),
      marker: {
        size: 10,
        color: look.colour(members[0]),
        symbol: members.map(look.symbol),
        line: { width: members.map((entry) => (onFront.has(entry.entry_id) ? 2 : 0)), color: theme().text },
      },
    };
  });
  if (front.length) {
    data.unshift({
      type: 'scatter',
      mode: 'lines',
      name: 'Pareto front',
      showlegend: false,
      hoverinfo: 'skip',
      line: { shape: 'hv', dash: 'dash', width: 1.5, color: theme().muted },
      x: [...front.map((entry) => at(entry.labels_in_all)), end],
      y: [...front, front.at(-1)].map((entry) => number(entry).value),
    });
  }
  const fixedModels = known.filter((entry) => entry.stage === 'reference');
  fixedModels.forEach((entry) =>
    data.push({
      type: 'scatter',
      mode: 'lines',
      name: plain(`${entry.title} (fixed)`),
      showlegend: false,
      x: [0, end],
      y: [number(entry).value, number(entry).value],
      line: { dash: 'dot', width: 1.6, color: theme().muted },
      customdata: [entry.entry_id, entry.entry_id],
      hoverinfo: 'text',
      hovertext: pointText(entry, measure),
    }),
  );
  return {
    data,
    layout: layout(
      axis,
      { title: { text: titled(measure) } },
      {
        // Their names stand at their lines.
        annotations: fixedModels.map((entry) => ({
          x: 0.5 * end,
          y: number(entry).value,
          text: plain(entry.title),
          showarrow: false,
          yanchor: 'bottom',
          font: { size: 11, color: theme().muted },
        })),
      },
    ),
    told: look.symbolsTold(priced),
    headers: ['Entry', 'Labels in all', titled(measure), 'Pareto front'],
    rows: known.map((entry) => [
      entry.name,
      short(entry.labels_in_all),
      intervalText(number(entry), measure.decimals),
      onFront.has(entry.entry_id) ? 'yes' : '',
    ]),
    empty: known.length ? '' : 'No entry has this number.',
  };
};

/** Quality by labels in all, a line for each model and selection. */
const learningFigure = (track, entries, measure) => {
  const look = looks(track);
  const shown = new Map(entries.map((entry) => [entry.entry_id, entry]));
  const curves = track.learning_curves
    .map((curve) =>
      curve.points
        .map((point) => shown.get(point.entry_id))
        .filter((entry) => entry && entry.estimates[measure.name].value !== null),
    )
    .filter((curve) => curve.some((entry) => entry.stage === 'after'));
  const nameOf = (curve) => pairOf(curve.at(-1));
  const modelsNamed = new Set();
  const first = (name) => !modelsNamed.has(name) && Boolean(modelsNamed.add(name));
  const { at, axis } = labelAxis(curves.flat());
  return {
    data: curves.map((curve) => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: plain(look.name(curve.at(-1))),
      legendgroup: plain(look.name(curve.at(-1))),
      showlegend: first(look.name(curve.at(-1))),
      x: curve.map((entry) => at(entry.labels_in_all)),
      y: curve.map((entry) => entry.estimates[measure.name].value),
      error_y: errorBars(
        curve.map((entry) => entry.estimates[measure.name]),
        curves.flat().length <= MOST_BARS,
      ),
      line: { color: look.colour(curve.at(-1)), dash: look.dash(curve.at(-1)), width: 1.8 },
      marker: { size: 8, symbol: look.symbol(curve.at(-1)) },
      customdata: curve.map((entry) => entry.entry_id),
      hoverinfo: 'text',
      hovertext: curve.map((entry) => pointText(entry, measure)),
    })),
    told: look.symbolsTold(curves.map((curve) => curve.at(-1))),
    layout: layout(axis, { title: { text: titled(measure) } }),
    headers: ['Curve', 'Budget', 'Labels in all', titled(measure)],
    rows: curves.flatMap((curve) =>
      curve.map((entry) => [
        nameOf(curve),
        String(entry.budget),
        short(entry.labels_in_all),
        intervalText(entry.estimates[measure.name], measure.decimals),
      ]),
    ),
    empty: curves.length ? '' : 'A learning curve needs a trained entry.',
  };
};

// Milliseconds that are written at an axis.
const TIMES = [-2, -1, 0, 1, 2, 3, 4, 5].flatMap((power) => [1, 2, 5].map((n) => Number(`${n}e${power}`)));
/** Quality against the time of a force call, which is logarithmic. */
const speedFigure = (track, entries, measure) => {
  const look = looks(track);
  const time = (entry) => entry.estimates.ms_per_force_call;
  const known = bestFirst(track, entries).filter(
    (entry) => entry.estimates[measure.name].value !== null && time(entry).value > 0,
  );
  const learning = known.filter((entry) => entry.stage !== 'reference');
  const fixedModels = known.filter((entry) => entry.stage === 'reference');
  const points = (members, more) => ({
    type: 'scatter',
    x: members.map((entry) => time(entry).value),
    y: members.map((entry) => entry.estimates[measure.name].value),
    error_x: errorBars(members.map(time), known.length <= MOST_BARS),
    error_y: errorBars(
      members.map((entry) => entry.estimates[measure.name]),
      known.length <= MOST_BARS,
    ),
    customdata: members.map((entry) => entry.entry_id),
    hoverinfo: 'text',
    hovertext: members.map((entry) => pointText(entry, measure, `${intervalText(time(entry), 1)} ms per force call`)),
    ...more,
  });
  return {
    data: [
      ...distinct(learning.map(look.name)).map((name) => {
        const members = learning.filter((entry) => look.name(entry) === name);
        const marker = { size: 10, color: look.colour(members[0]), symbol: members.map(look.symbol) };
        return points(members, { mode: 'markers', name: plain(name), marker });
      }),
      ...fixedModels.map((entry) =>
        points([entry], {
          mode: 'markers+text',
          name: plain(`${entry.title} (fixed)`),
          showlegend: false,
          text: plain(entry.title),
          textposition: 'top center',
          textfont: { size: 11, color: theme().muted },
          marker: { size: 10, color: theme().muted, symbol: 'circle-open' },
        }),
      ),
    ],
    layout: layout(
      {
        type: 'log',
        title: { text: 'Time per force call, ms (logarithmic)' },
        tickvals: TIMES,
        ticktext: TIMES.map(String),
      },
      { title: { text: titled(measure) } },
    ),
    told: look.symbolsTold(learning),
    headers: ['Entry', 'Time per force call, ms', titled(measure)],
    rows: known.map((entry) => [
      entry.name,
      intervalText(time(entry), 1),
      intervalText(entry.estimates[measure.name], measure.decimals),
    ]),
    empty: known.length ? '' : 'No entry has this number.',
  };
};

/** Lines of pct by step: `lines` are {entry, name, points: [{step, value, low, high}]}. */
const stepsFigure = (track, lines, spread) => {
  const look = looks(track);
  const known = lines.filter((line) => line.points.length);
  const colours = lineColours(
    track,
    known.map((line) => line.entry),
  );
  return {
    data: known.map((line, n) => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: plain(line.name),
      x: line.points.map((point) => point.step),
      y: line.points.map((point) => point.value),
      line: { color: colours[n], dash: look.dash(line.entry), width: 1.8 },
      marker: { size: 6 },
      error_y: spread ? errorBars(line.points) : undefined,
      hoverinfo: 'text',
      customdata: line.points.map(() => line.entry.entry_id),
      hovertext: line.points.map((point) => `${plain(line.name)}<br>step ${point.step}: ${fixed(point.value, 1)} %`),
    })),
    layout: layout({ title: { text: 'Step' }, rangemode: 'tozero' }, { title: { text: 'pct, %' } }),
    headers: ['Entry', 'Step', 'pct, %'],
    rows: known.flatMap((line) => line.points.map((point) => [line.name, String(point.step), fixed(point.value, 1)])),
    empty: known.length ? '' : 'These entries have no energies on the way: their protocol names no evaluation_steps.',
  };
};
const minimizationFigure = (track, entries) =>
  stepsFigure(
    track,
    lineEntries(
      track,
      entries.filter((entry) => entry.pct_curve.length),
    ).map((entry) => ({ entry, name: entry.name, points: entry.pct_curve })),
    entries.some((entry) => entry.seeds.length > 1),
  );

const NUMBERS = {
  residual_kcal_mol_all: { title: 'Residual energy, kcal/mol', decimals: 2 },
  pct_all: { title: 'pct, %', decimals: 1 },
};

/** Every result of an entry that has a number: [molecule's position, seed, value, status]. */
const results = (entry, number) =>
  entry.runs.flatMap((run) =>
    (run.results[number] || [])
      .map((value, n) => ({ n, seed: run.seed, value, status: run.results.status[n] }))
      .filter((result) => result.value !== null),
  );

/** A fixed scatter of points around their box, without any random number. */
const jitter = (n) => (((n * 0.618034) % 1) - 0.5) * 0.5;

const boxFigure = (track, entries, number) => {
  const shown = lineEntries(
    track,
    entries.filter((entry) => entry.quartiles[number]),
  );
  const colours = lineColours(track, shown);
  const data = shown.flatMap((entry, row) => {
    const [low, q1, median, q3, high] = entry.quartiles[number];
    const points = results(entry, number);
    const colour = colours[row];
    return [
      {
        type: 'box',
        orientation: 'h',
        y: [row],
        q1: [q1],
        median: [median],
        q3: [q3],
        lowerfence: [low],
        upperfence: [high],
        line: { color: colour, width: 1.4 },
        fillcolor: 'rgba(128,128,128,0.12)',
        width: 0.62,
        showlegend: false,
        hoverinfo: 'skip',
        name: plain(entry.name),
      },
      {
        type: 'scatter',
        mode: 'markers',
        name: plain(entry.name),
        showlegend: false,
        x: points.map((p) => p.value),
        y: points.map((p, n) => row + jitter(n)),
        customdata: points.map((p) => `molecule ${p.n}`),
        marker: {
          size: points.map((p) => (NEVER_FINISHED.has(p.status) ? 9 : 6)),
          color: colour,
          opacity: 0.8,
          symbol: points.map((p) => (NEVER_FINISHED.has(p.status) ? 'x' : 'circle')),
        },
        hoverinfo: 'text',
        hovertext: points.map(
          (p) =>
            `${plain(track.molecules[p.n].id)}<br>${plain(entry.name)}${p.seed === null ? '' : `, seed ${p.seed}`}` +
            `<br>${fixed(p.value, NUMBERS[number].decimals)}, ${p.status}`,
        ),
      },
    ];
  });
  const labels = shown.map((entry) =>
    plain(entry.name.length > 44 ? `${entry.name.slice(0, 43)}…` : entry.name).replace(/ · | (?=\+ )/g, '<br>'),
  );
  return {
    data,
    layout: layout(
      { title: { text: NUMBERS[number].title } },
      {
        tickvals: shown.map((_, n) => n),
        ticktext: labels,
        range: [shown.length - 0.5, -0.5],
        zeroline: false,
        showgrid: false,
        tickfont: { size: 11 },
      },
      { height: 110 + 74 * shown.length },
    ),
    ...quartileTable(shown, number),
  };
};

const quartileTable = (shown, number) => ({
  headers: ['Entry', 'Minimum', 'Lower quartile', 'Median', 'Upper quartile', 'Maximum', 'Without an end point'],
  rows: shown.map((entry) => [
    entry.name,
    ...entry.quartiles[number].map((value) => fixed(value, NUMBERS[number].decimals)),
    String(results(entry, number).filter((result) => NEVER_FINISHED.has(result.status)).length),
  ]),
  empty: shown.length ? '' : 'No entry has this number.',
});

const ecdfFigure = (track, entries, number) => {
  const look = looks(track);
  const shown = lineEntries(
    track,
    entries.filter((entry) => entry.quartiles[number]),
  );
  const colours = lineColours(track, shown);
  return {
    data: shown.map((entry, n) => {
      const points = results(entry, number).sort((a, b) => a.value - b.value);
      return {
        type: 'scatter',
        mode: 'lines',
        name: plain(entry.name),
        line: { shape: 'hv', color: colours[n], dash: look.dash(entry), width: 1.8 },
        x: points.map((p) => p.value),
        y: points.map((_, n) => (100 * (n + 1)) / points.length),
        customdata: points.map((p) => `molecule ${p.n}`),
        hoverinfo: 'text',
        hovertext: points.map(
          (p) =>
            `${plain(track.molecules[p.n].id)}<br>${plain(entry.name)}<br>${fixed(p.value, NUMBERS[number].decimals)}, ${p.status}`,
        ),
      };
    }),
    layout: layout(
      { title: { text: NUMBERS[number].title } },
      { title: { text: 'Molecules up to here, %' }, range: [0, 102] },
    ),
    ...quartileTable(shown, number),
  };
};
