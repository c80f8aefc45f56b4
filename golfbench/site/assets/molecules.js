// The molecules of a track, and what became of one of them in every entry.

const moleculeColumns = (track) => [
  {
    key: 'id',
    title: 'Molecule',
    name: true,
    text: true,
    value: (m) => m.id,
    show: (m) =>
      make(
        'button',
        {
          type: 'button',
          class: 'plain',
          'data-molecule': m.id,
          'aria-pressed': String(state.molecule === m.id),
          click: () => go({ molecule: m.id, shown: '' }),
        },
        m.id,
      ),
  },
  { key: 'formula', title: 'Formula', text: true, value: (m) => m.formula, show: (m) => m.formula },
  { key: 'atoms', title: 'Atoms', value: (m) => m.n_atoms, show: (m) => String(m.n_atoms) },
  {
    key: 'descent',
    title: 'Start above minimum, kcal/mol',
    value: (m) => m.descent_kcal_mol,
    show: (m) => fixed(m.descent_kcal_mol, 2),
  },
  {
    key: 'successes',
    title: 'Successes / walks',
    best: 'low',
    value: (m) => (m.walks ? m.successes / m.walks : null),
    show: (m) => `${m.successes} / ${m.walks}`,
    hint: 'Over all entries and seeds of the track',
  },
  {
    key: 'smiles',
    title: 'SMILES',
    text: true,
    value: (m) => m.smiles,
    show: (m) => make('code', {}, m.smiles || MISSING),
  },
];

/** The walks of all entries on one molecule. */
const walksOn = (track, n) =>
  track.entries.flatMap((entry) =>
    entry.runs.map((run, k) => ({
      key: `${entry.entry_id}/${k}`,
      entry,
      run,
      k,
      ...Object.fromEntries(Object.entries(run.results).map(([name, column]) => [name, column[n]])),
    })),
  );

const walkName = (walk) => (walk.run.seed === null ? walk.entry.name : `${walk.entry.name}, seed ${walk.run.seed}`);

const walkColumns = (chosen, choose) => [
  {
    key: 'entry',
    title: 'Entry',
    name: true,
    text: true,
    value: walkName,
    show: (walk) =>
      make(
        'label',
        {},
        make('input', {
          type: 'radio',
          name: 'walk',
          value: walk.key,
          checked: walk.key === chosen,
          change: () => choose(walk.key),
        }),
        make('span', {}, walkName(walk)),
      ),
  },
  {
    key: 'status',
    title: 'Status',
    text: true,
    value: (w) => w.status,
    show: (w) => w.status.replace('_', ' '),
    bad: (w) => BAD.has(w.status),
  },
  {
    key: 'residual',
    title: 'Residual, kcal/mol',
    value: (w) => w.residual_kcal_mol,
    show: (w) => fixed(w.residual_kcal_mol, 2),
  },
  { key: 'pct', title: 'pct, %', best: 'high', value: (w) => w.pct, show: (w) => fixed(w.pct, 1) },
  {
    key: 'success',
    title: 'Success',
    best: 'high',
    value: (w) => (w.success === null ? null : Number(w.success)),
    show: (w) => (w.success === null ? MISSING : w.success ? 'yes' : 'no'),
  },
  {
    key: 'rmsd',
    title: 'RMSD, Å',
    value: (w) => w.rmsd_angstrom,
    show: (w) => fixed(w.rmsd_angstrom, 2),
    hint: 'Of the end point to the reference minimum: heavy atoms, equivalent atoms exchanged',
  },
  {
    key: 'bonds',
    title: 'Bonds',
    text: true,
    value: (w) => w.bond_graph_changed,
    show: (w) => (w.bond_graph_changed === null ? MISSING : w.bond_graph_changed ? 'changed' : 'kept'),
    bad: (w) => w.bond_graph_changed,
  },
  {
    key: 'steps',
    title: 'Steps',
    value: (w) => w.n_steps,
    show: (w) => (w.n_steps === null ? MISSING : `${w.steps_capped ? '≥' : ''}${w.n_steps}`),
  },
];

const xyzText = (symbols, structure, title) =>
  [
    symbols.length,
    title.replace(/\s+/g, ' '),
    ...symbols.map((symbol, n) =>
      [
        symbol.padEnd(2),
        ...Array.from(structure.positions.subarray(3 * n, 3 * n + 3), (x) => x.toFixed(3).padStart(9)),
      ].join(' '),
    ),
    '',
  ].join('\n');

const saveText = (text, name) => {
  const address = URL.createObjectURL(new Blob([text], { type: 'chemical/x-xyz' }));
  const anchor = link(address, '', { download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
};

const swatch = (kind) => {
  const box = make('span', { class: 'swatch', 'aria-hidden': 'true' });
  box.style.background = KINDS[kind].colour;
  return box;
};

/** The view of one molecule. */
const moleculeView = (track, index, n) => {
  const molecule = track.molecules[n];
  const shape = shapesOf(index).molecules[n];
  const walks = walksOn(track, n);
  const scene = viewer();
  const hidden = new Set(['start']);
  const words = make('p', { role: 'status' });
  const coordinatesHolder = make('div');
  const tableDetails = make(
    'details',
    { toggle: () => fillCoordinates() },
    make('summary', {}, 'Coordinates as a table'),
    coordinatesHolder,
  );
  const endOf = (walk) => (walk ? shapesOf(index).ends[walk.entry.entry_id][walk.k][n] : null);
  const chosenWalk = () => walks.find((walk) => walk.key === state.shown) || walks.find(endOf) || walks[0] || null;

  const structuresNow = () => {
    const end = endOf(chosenWalk());
    const found = { end: end && end[0], reference: shape.reference, start: shape.start };
    return Object.keys(KINDS)
      .filter((kind) => found[kind] && !hidden.has(kind))
      .map((kind) => ({
        kind,
        positions: coordinates(found[kind]),
        bonds: (kind === 'end' && end[1]) || shape.bonds,
      }));
  };
  const draw = () => {
    const walk = chosenWalk();
    const structures = structuresNow();
    const shown = structures.map(({ kind }) => KINDS[kind].title.toLowerCase()).join(', ') || 'nothing';
    scene.show(
      structures,
      shape.symbols,
      `Three-dimensional view of ${molecule.id}, ${molecule.formula}. Shown: ${shown}. Arrow keys turn it, plus and minus zoom, 0 resets.`,
    );
    words.textContent = walk ? walkWords(walk, endOf(walk)) : 'No entry has walked from here yet.';
    fillCoordinates();
  };
  const fillCoordinates = () => {
    if (!tableDetails.open) return;
    coordinatesHolder.replaceChildren(
      ...structuresNow().map((structure) =>
        make(
          'div',
          {},
          plainTable(
            `${KINDS[structure.kind].title}, Å`,
            ['Atom', 'x', 'y', 'z'],
            shape.symbols.map((symbol, atom) => [
              `${atom + 1} ${symbol}`,
              ...Array.from(structure.positions.subarray(3 * atom, 3 * atom + 3), (x) => fixed(x, 3)),
            ]),
          ),
        ),
      ),
    );
  };
  const save = () => {
    const walk = chosenWalk();
    const text = structuresNow()
      .map((structure) =>
        xyzText(
          shape.symbols,
          structure,
          `${molecule.id} ${KINDS[structure.kind].title}${structure.kind === 'end' && walk ? ` ${walkName(walk)}` : ''}`,
        ),
      )
      .join('');
    saveText(text, `${molecule.id.replace(/\W+/g, '-')}.xyz`);
  };
  const toggles = Object.keys(KINDS).map((kind) =>
    checkbox(
      KINDS[kind].title,
      !hidden.has(kind),
      (on) => {
        if (on) hidden.delete(kind);
        else hidden.add(kind);
        draw();
      },
      KINDS[kind].colour && swatch(kind),
    ),
  );
  const table = sortableTable({
    label: `Results on ${molecule.id}`,
    tall: true,
    sort: () => state.order,
    setSort: (order) => go({ order }),
    mark: (walk) => chosenWalk() === walk,
    caption: (rows) => `${plural(rows.length, 'walk')} from this start; the chosen end point is shown in the view`,
  });
  const fill = () => {
    const focused = document.activeElement && document.activeElement.name === 'walk';
    const chosen = chosenWalk();
    table.fill(
      walks,
      walkColumns(chosen && chosen.key, (key) => go({ shown: key })),
    );
    if (focused) table.node.querySelector('input:checked')?.focus();
  };
  const curves = plotFrame(
    'Minimization curves on this molecule',
    'pct by step on this molecule; the table below has the numbers',
    (id) => go({ entry: id }),
  );
  const withCurve = walks.filter((walk) => walk.pct_curve);
  const drawCurves = () =>
    withCurve.length &&
    curves.draw(
      stepsFigure(
        track,
        withCurve.slice(0, MOST_LINES).map((walk) => ({
          entry: walk.entry,
          name: walkName(walk),
          points: walk.pct_curve.map(([step, value]) => ({ step, value })),
        })),
        false,
      ),
      withCurve.length > MOST_LINES ? `The first ${MOST_LINES} of ${withCurve.length} walks.` : '',
    );
  const node = make(
    'div',
    {},
    heading(4, molecule.id, { id: 'molecule-heading', tabindex: '-1' }),
    facts([
      ['Formula', molecule.formula],
      ['SMILES', make('code', {}, molecule.smiles || MISSING)],
      ['Charge', String(molecule.charge)],
      [
        'Start above the reference minimum',
        molecule.descent_kcal_mol === null ? null : `${fixed(molecule.descent_kcal_mol, 2)} kcal/mol`,
      ],
    ]),
    make(
      'div',
      { class: 'molecule' },
      make(
        'div',
        {},
        make('div', { class: 'tools', role: 'group', 'aria-label': 'Structures' }, toggles),
        scene.node,
        words,
        make(
          'p',
          { class: 'note' },
          'Drag to turn, pinch (or Ctrl and wheel) to zoom; with the keyboard: arrows, + and −, 0. The first of the chosen structures is drawn in the colours of its elements. Start and end point are superposed on the reference minimum by least squares over heavy atoms.',
        ),
        make(
          'div',
          { class: 'tools' },
          tableDetails,
          make('button', { type: 'button', class: 'plain', click: save }, 'Save what is shown (XYZ)'),
        ),
      ),
      make('div', {}, walks.length ? table.node : null, withCurve.length ? curves.node : null),
    ),
  );
  const update = () => {
    fill();
    draw();
  };
  return {
    node,
    update,
    recolour: () => {
      scene.redraw();
      drawCurves();
    },
  };
};

const walkWords = (walk, end) => {
  const name = walkName(walk);
  if (!end) return `${name}: ${walk.status.replace('_', ' ')}; there is no end point to show.`;
  const above =
    walk.residual_kcal_mol === null
      ? ''
      : `, ${fixed(Math.abs(walk.residual_kcal_mol), 2)} kcal/mol ${walk.residual_kcal_mol < 0 ? 'below' : 'above'} the reference minimum`;
  const rmsd = walk.rmsd_angstrom === null ? '' : `, RMSD ${fixed(walk.rmsd_angstrom, 2)} Å from it`;
  const bonds = walk.bond_graph_changed ? '; its bonds are not those of the SMILES' : '';
  return `End point of ${name}: ${walk.status.replace('_', ' ')} after ${walk.n_steps} steps${above}${rmsd}${bonds}.`;
};

/** The section of molecules of a track. */
const moleculesOf = (track, index) => {
  track.molecules.forEach((molecule, n) => {
    const walks = track.entries.flatMap((entry) => entry.runs.map((run) => run.results.success[n]));
    molecule.walks = walks.filter((success) => success !== null).length;
    molecule.successes = walks.filter(Boolean).length;
  });
  const table = sortableTable({
    label: `Molecules of ${track.name}`,
    tall: true,
    sort: () => list.sort,
    setSort: (sort) => {
      list.sort = sort;
      fill();
    },
    caption: (rows) =>
      `${rows.length} of ${plural(track.molecules.length, 'molecule')}; choose one to see every entry's result on it`,
    mark: (m) => m.id === state.molecule,
  });
  const list = { sort: '' };
  const search = make('input', { type: 'search', value: state.find, input: () => go({ find: search.value }) });
  const holder = make('div', { id: 'molecule' });
  const node = make(
    'section',
    { 'aria-label': 'Molecules' },
    heading(3, 'Molecules'),
    make(
      'div',
      { class: 'tools', role: 'search', 'aria-label': 'Filter the molecules' },
      make('label', {}, 'Search', search),
    ),
    table.node,
    holder,
  );
  let [view, viewed] = [null, null];

  const fill = () => {
    const focused =
      document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.molecule : null;
    const words = state.find.toLowerCase();
    table.fill(
      track.molecules.filter((m) => `${m.id} ${m.formula} ${m.smiles}`.toLowerCase().includes(words)),
      moleculeColumns(track),
    );
    if (focused)
      [...table.node.querySelectorAll('[data-molecule]')]
        .find((button) => button.dataset.molecule === focused)
        ?.focus();
  };
  const update = () => {
    if (viewed !== state.molecule) {
      viewed = state.molecule;
      const n = track.molecules.findIndex((m) => m.id === viewed);
      view = n < 0 ? null : moleculeView(track, index, n);
      holder.replaceChildren(...(view ? [view.node] : []));
      if (view) view.recolour();
    }
    if (view) view.update();
  };
  return { node, fill, update, recolour: () => view && view.recolour() };
};
