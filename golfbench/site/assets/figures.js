// Figures as Plotly's JSON, each with the same numbers as a table. Nothing is computed but positions on paper.

// Okabe and Ito (2008) without black and yellow, which vanish on one of the two backgrounds.
const PALETTE = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6bb1', '#7f7f7f'];
const SYMBOLS = ['circle', 'square', 'diamond', 'triangle-up', 'x', 'star', 'pentagon', 'triangle-down'];
const DASHES = ['solid', 'dash', 'dot', 'dashdot', 'longdash'];
// Entries that one figure of many lines or boxes can show and still be read.
const MOST_LINES = 12;
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
  const title = 'Labels in all, those of the initial set included';
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

const pairOf = (entry) => `${modelOf(entry)} · ${selectionOf(entry)}`;

/** Colours by model and selection while they suffice, else by model; symbols and dashes by selection. */
const looks = (track) => {
  const pairs = distinct(track.entries.map(pairOf));
  const [coloured, values] =
    pairs.length <= PALETTE.length ? [pairOf, pairs] : [modelOf, distinct(track.entries.map(modelOf))];
  const selections = distinct(track.entries.map(selectionOf));
  return {
    colour: (entry) => among(PALETTE, values, coloured(entry)),
    symbol: (entry) => among(SYMBOLS, selections, selectionOf(entry)),
    dash: (entry) => among(DASHES, selections, selectionOf(entry)),
  };
};

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
  const groups = distinct(priced.map(pairOf));
  const data = groups.map((group) => {
    const members = priced.filter((entry) => pairOf(entry) === group);
    return {
      type: 'scatter',
      mode: 'markers',
      name: plain(group),
      x: members.map(place),
      y: members.map((entry) => number(entry).value),
      error_y: errorBars(members.map(number), known.length <= MOST_BARS),
      customdata: members.map((entry) => entry.entry_id),
      hoverinfo: 'text',
      hovertext: members.map(
        (entry) =>
          `${plain(entry.name)}<br>${intervalText(number(entry), measure.decimals)} ${measure.unit}` +
          `<br>${short(entry.labels_in_all)} labels in all${overlapUnknown(entry) ? '<br>⚠ overlap with the test molecules unknown' : ''}${onFront.has(entry.entry_id) ? '<br>on the Pareto front' : ''}`,
      ),
      marker: {
        size: 10,
        color: look.colour(members[0]),
        symbol: look.symbol(members[0]),
        line: { width: members.map((entry) => (onFront.has(entry.entry_id) ? 2 : 0)), color: theme().text },
      },
    };
  });
  if (front.length) {
    data.unshift({
      type: 'scatter',
      mode: 'lines',
      name: 'Pareto front',
      hoverinfo: 'skip',
      line: { shape: 'hv', dash: 'dash', width: 1.5, color: theme().muted },
      x: [...front.map((entry) => at(entry.labels_in_all)), end],
      y: [...front, front.at(-1)].map((entry) => number(entry).value),
    });
  }
  known
    .filter((entry) => entry.stage === 'reference')
    .forEach((entry) =>
      data.push({
        type: 'scatter',
        mode: 'lines',
        name: plain(`${modelOf(entry)} (fixed)`),
        x: [0, end],
        y: [number(entry).value, number(entry).value],
        line: { dash: 'dot', width: 1.6, color: look.colour(entry) },
        customdata: [entry.entry_id, entry.entry_id],
        hoverinfo: 'text',
        hovertext: `${plain(entry.name)}<br>${intervalText(number(entry), measure.decimals)} ${measure.unit}`,
      }),
    );
  return {
    data,
    layout: layout(axis, { title: { text: titled(measure) } }),
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
  const { at, axis } = labelAxis(curves.flat());
  return {
    data: curves.map((curve) => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: plain(nameOf(curve)),
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
      hovertext: curve.map(
        (entry) =>
          `${plain(entry.name)}<br>${intervalText(entry.estimates[measure.name], measure.decimals)} ${measure.unit}`,
      ),
    })),
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

/** Lines of pct by step: `lines` are {entry, name, points: [{step, value, low, high}]}. */
const stepsFigure = (track, lines, spread) => {
  const look = looks(track);
  const known = lines.filter((line) => line.points.length).slice(0, MOST_LINES);
  return {
    data: known.map((line) => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: plain(line.name),
      x: line.points.map((point) => point.step),
      y: line.points.map((point) => point.value),
      line: { color: look.colour(line.entry), dash: look.dash(line.entry), width: 1.8 },
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
    entries.map((entry) => ({ entry, name: entry.name, points: entry.pct_curve })),
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
  const look = looks(track);
  const shown = entries.filter((entry) => entry.quartiles[number]).slice(0, MOST_LINES);
  const data = shown.flatMap((entry, row) => {
    const [low, q1, median, q3, high] = entry.quartiles[number];
    const points = results(entry, number);
    const colour = look.colour(entry);
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
  const shown = entries.filter((entry) => entry.quartiles[number]).slice(0, MOST_LINES);
  return {
    data: shown.map((entry) => {
      const points = results(entry, number).sort((a, b) => a.value - b.value);
      return {
        type: 'scatter',
        mode: 'lines',
        name: plain(entry.name),
        line: { shape: 'hv', color: look.colour(entry), dash: look.dash(entry), width: 1.8 },
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
