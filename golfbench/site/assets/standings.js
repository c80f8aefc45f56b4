// The table of entries: filters, order, and the details of one.

// What is always beside the ranked number: no number of it says enough alone.
const FIRST_MEASURES = new Set(['residual_kcal_mol_mean_all', 'pct_mean_all', 'success_pct', 'divergence_pct']);

const callsText = (account) =>
  account.cache_hits ? `${short(account.calls)} +${short(account.cache_hits)}` : short(account.calls);

/** All columns of a track; those with `more` are shown with all columns only. */
const allColumns = (track) => {
  const text = (key, title, value, more = false) => ({ key, title, value, show: value, text: true, more });
  const measures = track.measures.map((m) => ({
    key: m.name,
    title: titled(m),
    best: m.lower_is_better ? 'low' : 'high',
    more: !FIRST_MEASURES.has(m.name) && m.name !== track.ranked,
    value: (e) => e.estimates[m.name].value,
    show: (e) => estimateCell(e, m),
    told: (e) => intervalText(e.estimates[m.name], m.decimals),
    measure: m,
  }));
  const calls = track.purposes.map((purpose) => ({
    key: `calls_${purpose}`,
    title: `Calls, ${purpose}`,
    more: purpose !== 'training',
    value: (e) => e.oracle_calls[purpose].calls + e.oracle_calls[purpose].cache_hits,
    show: (e) => callsText(e.oracle_calls[purpose]),
    hint: '+: labels that were known already and cost no call',
  }));
  const ranked = measures.find((column) => column.key === track.ranked);
  return [
    { key: 'rank', title: 'Rank', value: (e) => e.rank, show: rankOf, hint: 'Within its budget; =: shared' },
    { key: 'model', title: 'Model', name: true, text: true, value: (entry) => entry.title, show: (e) => openButton(e) },
    ranked,
    text('selection', 'Selection', selectionOf),
    text('optimizer', 'Optimizer', (e) => e.optimizer),
    text('oracle', 'Oracle', (e) => e.oracle, true),
    ...(track.published ? [] : [text('run', 'Run', (e) => e.provenance.run_id)]),
    {
      key: 'budget',
      title: 'Budget',
      grouped: true,
      value: (e) => (e.stage === 'reference' ? null : e.budget),
      show: (e) => (e.stage === 'reference' ? MISSING : String(e.budget)),
    },
    { key: 'seeds', title: 'Seeds', value: seedCount, show: (e) => String(seedCount(e) ?? MISSING), hint: 'How many' },
    {
      key: 'labels',
      title: 'Labels in all',
      value: (e) => e.labels_in_all,
      show: (e) => short(e.labels_in_all),
      hint: 'What the network has learned from, those of the initial set included; mean over seeds',
    },
    text('weights', 'Pretrained weights', weightsOf, true),
    ...measures.filter((column) => column !== ranked),
    {
      key: 'judged',
      title: 'Judged / failed / missing',
      value: (e) => e.n_ok,
      best: 'high',
      show: (e) => `${e.n_ok} / ${e.n_failed} / ${e.n_missing}`,
      bad: (e) => !complete(e),
    },
    ...calls,
    {
      key: 'parameters',
      title: 'Parameters',
      more: true,
      value: (e) => e.parameters,
      show: (e) => (e.parameters === null ? MISSING : String(e.parameters)),
    },
    {
      key: 'training',
      title: 'Training, s',
      more: true,
      value: (e) => e.training_wall_s,
      show: (e) => fixed(e.training_wall_s, 0),
    },
  ];
};

const KEPT = new Set(['rank', 'model']);
/** The columns that say the same of every entry: facts of the track, and no columns. */
const constantColumns = (track) => {
  const told = (column, entry) => String((column.told || column.show)(entry));
  return allColumns(track).filter(
    (column) =>
      track.entries.length > 1 &&
      !KEPT.has(column.key) &&
      column.key !== track.ranked &&
      track.entries.every((entry) => told(column, entry) === told(column, track.entries[0])),
  );
};
const constantFacts = (track) =>
  constantColumns(track)
    .filter((column) => column.key !== 'oracle')
    .map((column) => [column.title, String((column.told || column.show)(track.entries[0]))])
    .filter(([, text]) => text && text !== MISSING);

/** The columns of a table; where the headlines of its groups name the budget, it needs no column. */
const entryColumns = (track, everything, grouped) => {
  const constant = new Set(constantColumns(track).map((column) => column.key));
  return allColumns(track)
    .filter((column) => !constant.has(column.key) && (everything || !(column.more || (grouped && column.grouped))))
    .map((column) => ({
      ...column,
      show: (row) => (row.members ? foldedCell(column, row) : column.show(row)),
      bad: column.bad && ((row) => (row.members || [row]).some(column.bad)),
    }));
};

const opened = new Set();
/** Rows with one line for the members of each fold of which two or more are there. */
const foldedRows = (track, entries) => {
  const folds = track.folds.map((places) => entries.filter((entry) => places.includes(entry.place)));
  return entries.flatMap((entry) => {
    const members = folds.find((fold) => fold.length > 1 && fold.includes(entry));
    if (!members) return [entry];
    if (entry !== members[0]) return [];
    const key = entry.entry_id;
    const open = opened.has(key) || members.some((member) => member.entry_id === state.entry);
    return [{ members, key, open }, ...(open ? members : [])];
  });
};

/** What several entries have in common: their texts, or the range of their values within all their intervals. */
const foldedCell = (column, row) => {
  const { members } = row;
  if (column.name) return foldButton(row);
  if (!column.measure) {
    const texts = distinct(members.map((entry) => String(column.show(entry))));
    return texts.length > 1 && !column.text ? texts.map((text) => make('span', { class: 'many' }, text)) : texts.join(', ');
  }
  const { decimals } = column.measure;
  const numbers = members.map((entry) => column.measure && entry.estimates[column.key]).filter((n) => n.value !== null);
  if (!numbers.length) return MISSING;
  const pick = (of, end) => fixed(of(...numbers.map((number) => number[end])), decimals);
  const values = distinct([pick(Math.min, 'value'), pick(Math.max, 'value')]);
  const bound = column.key === 'steps_mean' && members.some((entry) => entry.steps_capped) ? '≥' : '';
  return [
    bound + values.join(' to '),
    make('span', { class: 'ci' }, `[${pick(Math.min, 'low')}, ${pick(Math.max, 'high')}]`),
  ];
};

const foldButton = ({ members, key, open }) =>
  make(
    'button',
    {
      type: 'button',
      class: 'plain',
      'aria-expanded': String(open),
      'data-fold': key,
      title: 'Selections of one model that share a rank and cannot be told apart: open the line for each',
      click: () => {
        opened[open ? 'delete' : 'add'](key);
        // An entry of it that is open would keep it open.
        if (open && members.some((member) => member.entry_id === state.entry)) go({ entry: '' });
        else refill();
      },
    },
    make('span', { 'aria-hidden': 'true' }, open ? '▾' : '▸'),
    make('span', {}, members[0].title, make('span', { class: 'ci' }, plural(members.length, 'selection'))),
    overlapUnknown(members[0]) && warningMark(),
  );
let refill = () => {};

/** How many seeds an entry has; null where nothing was drawn. */
const seedCount = (entry) => (entry.seeds.every((seed) => seed === null) ? null : entry.seeds.length);
const seedText = (entry) =>
  seedCount(entry) === null ? MISSING : entry.seeds.map((seed) => seed ?? MISSING).join(', ');

const estimateCell = (entry, measure) => {
  const number = entry.estimates[measure.name];
  if (number.value === null) return MISSING;
  const bound = measure.name === 'steps_mean' && entry.steps_capped ? '≥' : '';
  return [
    `${bound}${fixed(number.value, measure.decimals)}`,
    make('span', { class: 'ci' }, `[${fixed(number.low, measure.decimals)}, ${fixed(number.high, measure.decimals)}]`),
  ];
};

const openButton = (entry) => {
  const open = state.entry === entry.entry_id;
  return make(
    'button',
    {
      type: 'button',
      class: 'plain',
      'aria-expanded': String(open),
      'data-entry': entry.entry_id,
      title: 'Details of this entry',
      click: () => go({ entry: open ? '' : entry.entry_id }),
    },
    make('span', { 'aria-hidden': 'true' }, open ? '▾' : '▸'),
    make('span', {}, entry.title),
    overlapUnknown(entry) && warningMark(),
  );
};

const OVERLAP_UNKNOWN = 'Pretrained: nobody has stated whether the weights have learned from the test molecules';
const warningMark = () => make('span', { class: 'bad', role: 'img', 'aria-label': OVERLAP_UNKNOWN, title: OVERLAP_UNKNOWN }, ' ⚠');

/** A tree of settings as lines `golf.steps: 100`. */
const flat = (value, prefix = '') =>
  Object.entries(value).flatMap(([name, item]) =>
    item !== null && typeof item === 'object' && !Array.isArray(item)
      ? flat(item, `${prefix}${name}.`)
      : [[`${prefix}${name}`, JSON.stringify(item)]],
  );
const namedValues = (object) =>
  Object.entries(object)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');

const entryDetail = (track, entry) => {
  const { provenance: from, credits } = entry;
  const block = (title, ...parts) => make('section', {}, heading(4, title), parts);
  const same = inseparable(track, entry);
  const file = track.published ? fileLink([track.name, entry.file], entry.file) : null;
  const numbers = track.measures.map((m) => [titled(m), intervalText(entry.estimates[m.name], m.decimals)]);
  return [
    make(
      'div',
      { class: 'columns' },
      block(
        'Entry',
        facts([
          ['File', file],
          ['Level of theory', entry.method],
          ['Oracle', entry.oracle],
          ['Seeds', seedText(entry)],
          [
            'Rank',
            entry.rank === null
              ? 'none: a fixed model, or not every molecule was judged'
              : `${rankOf(entry)} (${groupOf(entry)})`,
          ],
          [
            'Not separable from',
            entry.stage === 'reference' ? null : same.map((other) => other.name).join('; ') || 'none',
          ],
          ['Submitter', credits.submitter],
        ]),
      ),
      block(
        'Licences and citations',
        facts([
          ['Weights', credits.weights_license || (entry.stage === 'reference' ? null : 'not stated')],
          ...Object.entries(credits.licenses),
          ...Object.entries(credits.citations).map(([name, text]) => [`${name}, to cite`, citation(text)]),
        ]),
      ),
      entry.weights && block('Pretrained weights', facts(weightsFacts(entry))),
      block('Numbers', facts(numbers)),
      block(
        'Oracle calls, mean over seeds',
        facts(
          track.purposes
            .map((purpose) => [purpose, callsText(entry.oracle_calls[purpose])])
            .concat([
              ['Labels learned from in all', short(entry.labels_in_all)],
              ['of these from the initial set', String(entry.initial_labels)],
            ]),
        ),
      ),
      block(
        'Cost by seed',
        facts(entry.runs.map((run) => [run.seed === null ? 'Run' : `Seed ${run.seed}`, costText(run)])),
      ),
      block(
        'Where it was run',
        facts([
          ['Hardware', from.hardware.map(namedValues).join('; ')],
          ['Device', from.device],
          ['Threads', namedValues(from.threads)],
          ['Platform', `${from.platform}, Python ${from.python_version}`],
          ['Software', namedValues(from.versions)],
          ['Engines', [...new Set(entry.runs.flatMap((run) => run.engines))].join(', ')],
          [
            'golfbench',
            from.golfbench_version +
              (from.source
                ? `, commit ${String(from.source.commit).slice(0, 12)}${from.source.changed ? ' (changed)' : ''}`
                : ''),
          ],
          ['Run', `${from.run_id}, ${from.started_utc} to ${from.finished_utc || 'not finished'}`],
          ['Command', make('code', {}, from.argv.join(' '))],
        ]),
      ),
      block('Settings', make('details', {}, make('summary', {}, 'All settings'), facts(flat(entry.settings)))),
    ),
  ];
};

const weightsFacts = (entry) => [
  ['Name', weightsOf(entry)],
  ['Licence', entry.weights.license || 'not known'],
  ['Trained at', entry.weights.method || 'not known'],
  ['SHA-256 of the file', make('code', {}, entry.weights.file_sha256)],
  ['Overlap with the test molecules', [entry.weights.overlap, overlapUnknown(entry) && warningMark()]],
];

const costText = (run) => {
  const asked = Object.entries(run.oracle_wall_s)
    .filter(([, seconds]) => seconds > 0)
    .map(([purpose, seconds]) => `oracle, ${purpose} ${fixed(seconds, 1)} s`);
  const network = run.cost
    ? [`${run.cost.parameters} parameters`, `${run.cost.updates} updates in ${fixed(run.cost.wall_s, 0)} s`]
    : [];
  const weights = run.cost && run.cost.weights_sha256 ? [`weights ${run.cost.weights_sha256.slice(0, 12)}`] : [];
  return [...network, ...asked, ...weights].join('; ') || 'nothing was measured';
};

const FILTERS = [
  ['stage', 'Kind', (entry) => entry.stage, (value) => STAGES[value]],
  ['model', 'Model', (entry) => entry.title, String],
  ['selection', 'Selection', selectionOf, String],
  ['budget', 'Budget', (entry) => String(entry.budget), String],
];
const wordsOf = (entry) =>
  [
    entry.name,
    entry.optimizer,
    entry.oracle,
    entry.method,
    weightsOf(entry),
    entry.credits.submitter,
    entry.entry_id,
    entry.provenance.run_id,
  ]
    .join(' ')
    .toLowerCase();

const filteredEntries = (track) =>
  track.entries.filter(
    (entry) =>
      FILTERS.every(([key, , value]) => !state[key] || value(entry) === state[key]) &&
      state.q
        .toLowerCase()
        .split(/\s+/)
        .every((word) => wordsOf(entry).includes(word)),
  );

/** The section of standings of a track. */
const standingsOf = (track) => {
  const status = make('p', { role: 'status', class: 'note' });
  const search = make('input', { type: 'search', value: state.q, input: () => go({ q: search.value }) });
  const choices = FILTERS.map(([key, label, value, shown]) => {
    const values = distinct(track.entries.map(value)).sort(compare);
    return values.length > 1
      ? choice(label, [['', 'all'], ...values.map((v) => [v, shown(v)])], state[key], (chosen) => go({ [key]: chosen }))
      : null;
  });
  const table = sortableTable({
    label: `Standings of ${track.name}`,
    sort: () => state.sort,
    setSort: (sort) => go({ sort }),
    group: (row) => groupOf(row.members ? row.members[0] : row),
    member: (row) => !row.members && state.sort === '' && isFolded(track, row),
    detail: (entry) => state.entry === entry.entry_id && entryDetail(track, entry),
    mark: (entry) => state.entry === entry.entry_id,
    caption: (rows, column, descending) =>
      column
        ? `Ordered by ${column.title}, ${descending ? 'descending' : 'ascending'}`
        : `In the order of budgets and ranks${rows.some((row) => row.members) ? '; selections of one model that cannot be told apart are on one line' : ''}`,
  });
  const tools = make(
    'div',
    { class: 'tools', role: 'search', 'aria-label': 'Filter the entries' },
    make('label', {}, 'Search', search),
    choices,
    checkbox('All columns', Boolean(state.all), (on) => go({ all: on ? '1' : '' })),
    make('button', { type: 'button', click: () => clearFilters(tools) }, 'Clear'),
  );
  const fill = () => {
    const { entry: focused, fold } = (document.activeElement && document.activeElement.dataset) || {};
    const rows = filteredEntries(track);
    status.textContent = `${rows.length} of ${plural(track.entries.length, 'entry', 'entries')} shown.`;
    const grouped = state.sort === '';
    table.fill(grouped ? foldedRows(track, rows) : rows, entryColumns(track, Boolean(state.all), grouped));
    if (focused || fold)
      [...table.node.querySelectorAll('[data-entry], [data-fold]')]
        .find((button) => (focused ? button.dataset.entry === focused : button.dataset.fold === fold))
        ?.focus();
  };
  refill = fill;
  const node = make(
    'section',
    { 'aria-label': 'Standings' },
    heading(3, 'Standings'),
    track.entries.length ? [tools, status, table.node, standingsNote()] : make('p', {}, 'There is no entry yet.'),
  );
  return { node, fill: track.entries.length ? fill : () => {} };
};

const isFolded = (track, entry) => {
  const shown = new Set(filteredEntries(track).map((other) => other.place));
  return track.folds.some((places) => places.includes(entry.place) && places.filter((p) => shown.has(p)).length > 1);
};

const clearFilters = (tools) => {
  tools.querySelectorAll('select').forEach((select) => {
    select.value = '';
  });
  tools.querySelector('input[type="search"]').value = '';
  go({ q: '', stage: '', model: '', selection: '', budget: '', sort: '' });
};

const standingsNote = () =>
  make(
    'details',
    {},
    make('summary', {}, 'What the numbers mean'),
    make(
      'p',
      { class: 'note' },
      `Means over seeds; in brackets the ${content.facts.confidence_pct} % interval (${content.facts.resamples} paired bootstrap resamples of compounds and of seeds; ` +
        'with one seed the spread over seeds is not in it). All: every molecule counts, one that diverged or failed with its start. Finished: only those with an end point that did not diverge. ' +
        'Entries of a budget whose difference has an interval that contains zero share a rank (=). An entry that lacks judged molecules has no rank. ' +
        `Success: less than ${content.facts.success_kcal_mol} kcal/mol above the minimum and the bonds unchanged, of all molecules. COV: minima with an end point within ${content.facts.coverage_angstrom} Å. ` +
        '≥: some walks were stopped before they converged. Calls are means over seeds; +: labels that were known already and cost no call. ' +
        'Labels in all: what the network has learned from, those of the initial set included; what pretrained weights were made of elsewhere is not in it. ' +
        '⚠: nobody has stated whether pretrained weights have learned from the test molecules.',
    ),
  );
