// The table of entries: filters, order, and the details of one.

const EXTRA_MEASURES = new Set([
  'topology_changed_pct',
  'convergence_pct',
  'cov_pct',
  'mat_angstrom',
  'ms_per_force_call',
]);

const callsText = (account) =>
  account.cache_hits ? `${short(account.calls)} +${short(account.cache_hits)}` : short(account.calls);

const entryColumns = (track, everything) => {
  const text = (key, title, value) => ({ key, title, value, show: value, text: true });
  const measures = track.measures
    .filter((m) => everything || !EXTRA_MEASURES.has(m.name) || m.name === track.ranked)
    .map((m) => ({
      key: m.name,
      title: titled(m),
      best: m.lower_is_better ? 'low' : 'high',
      value: (e) => e.estimates[m.name].value,
      show: (e) => estimateCell(e, m),
    }));
  const calls = track.purposes
    .filter((purpose) => everything || purpose === 'training')
    .map((purpose) => ({
      key: `calls_${purpose}`,
      title: `Calls, ${purpose}`,
      value: (e) => e.oracle_calls[purpose].calls + e.oracle_calls[purpose].cache_hits,
      show: (e) => callsText(e.oracle_calls[purpose]),
      hint: '+: labels that were known already and cost no call',
    }));
  return [
    { key: 'rank', title: 'Rank', value: (e) => e.rank, show: rankOf, hint: 'Within its budget; =: shared' },
    { key: 'model', title: 'Model', name: true, text: true, value: modelOf, show: (e) => openButton(e) },
    text('optimizer', 'Optimizer', (e) => e.optimizer),
    text('selection', 'Selection', selectionOf),
    ...(everything ? [text('oracle', 'Oracle', (e) => e.oracle)] : []),
    ...(track.published ? [] : [text('run', 'Run', (e) => e.provenance.run_id)]),
    {
      key: 'budget',
      title: 'Budget',
      value: (e) => (e.stage === 'reference' ? null : e.budget),
      show: (e) => (e.stage === 'reference' ? MISSING : String(e.budget)),
    },
    { key: 'seeds', title: 'Seeds', value: (e) => e.seeds.length, show: (e) => seedText(e) },
    {
      key: 'labels',
      title: 'Labels in all',
      value: (e) => e.labels_in_all,
      show: (e) => short(e.labels_in_all),
      hint: 'What the network has learned from, those of the initial set included; mean over seeds',
    },
    ...(everything && track.entries.some((e) => e.weights) ? [text('weights', 'Pretrained weights', weightsOf)] : []),
    ...measures,
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
      value: (e) => e.parameters,
      show: (e) => (e.parameters === null ? MISSING : String(e.parameters)),
    },
    {
      key: 'training',
      title: 'Training, s',
      value: (e) => e.training_wall_s,
      show: (e) => fixed(e.training_wall_s, 0),
    },
  ];
};

const seedText = (entry) =>
  entry.seeds.every((seed) => seed === null) ? MISSING : entry.seeds.map((seed) => seed ?? MISSING).join(', ');

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
    make('span', {}, modelOf(entry)),
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
  ['model', 'Model', modelOf, String],
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
    group: groupOf,
    detail: (entry) => state.entry === entry.entry_id && entryDetail(track, entry),
    mark: (entry) => state.entry === entry.entry_id,
    caption: (rows, column, descending) =>
      column
        ? `Ordered by ${column.title}, ${descending ? 'descending' : 'ascending'}`
        : 'In the order of budgets and ranks',
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
    const focused =
      document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.entry : null;
    const rows = filteredEntries(track);
    status.textContent = `${rows.length} of ${plural(track.entries.length, 'entry', 'entries')} shown.`;
    table.fill(rows, entryColumns(track, Boolean(state.all)));
    if (focused)
      [...table.node.querySelectorAll('[data-entry]')].find((button) => button.dataset.entry === focused)?.focus();
  };
  const node = make(
    'section',
    { 'aria-label': 'Standings' },
    heading(3, 'Standings'),
    track.entries.length ? [tools, status, table.node, standingsNote()] : make('p', {}, 'There is no entry yet.'),
  );
  return { node, fill: track.entries.length ? fill : () => {} };
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
