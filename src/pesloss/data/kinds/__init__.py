"""Kinds of datasets, one file each, found by file name.

A kind with geometry has

- ``Recipe``: a specification whose fields, all with defaults, are the generator's parameters;
- ``plan(recipe, n_structures, rng)``: the families, ``n_structures`` structures in all; cheap;
- ``build(recipe, family, rng)``: yields an ``Atoms`` or a ``Failure`` for each structure of one
  family. The generator ``rng`` belongs to the family alone.

A kind without geometry has ``Recipe`` and ``draw(recipe, n_structures, rng)``, which returns the
structure table directly (see ``pesloss.data.store.structure_table`` for its columns).
"""
