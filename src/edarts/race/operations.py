"""Which operations a search may use where the network has limits: those that fit them in a cell."""

from dataclasses import replace

from edarts.config import SearchConfig, option_names, parse_attention
from edarts.race.candidates import Field, fits
from edarts.space.base import Architecture, SearchSpace


def within_limits(
    given: SearchConfig, resolved: SearchConfig, space: SearchSpace, field: Field
) -> tuple[SearchConfig, tuple[str, ...]]:
    """What is `given`, without the operations that cannot be within the limits; and their names.

    They are those of which a cell of nothing else exceeds a limit at its smallest size. The others
    fit in any mixture, as an operation costs the same beside others. Time is not looked at:
    measured twice it may differ, and a run that is continued has to search the same space. All stay
    where all would have to go. `resolved`, `space`: of what is given.
    """
    budget = replace(field.budget, max_ms=None)
    if "operations" not in option_names(type(space)) or not budget.limits:
        return given, ()
    field = replace(field, budget=budget)
    names = space.candidates(space.groups[0])
    eligible = space.eligible(space.groups[0])
    out = tuple(name for name in eligible if not fits(_cell_of(space, name), field))
    if len(out) in (0, len(eligible)):
        return given, ()
    stay = [name for name in names if name not in out]
    options = replace(resolved.space_options, operations=",".join(stay))
    shares = parse_attention(resolved.attention)
    if shares is not None:
        shared = ",".join(f"{name}={shares[name]:g}" for name in stay)
        given = replace(given, attention=shared)
    return replace(given, space_options=options), out


def _cell_of(space: SearchSpace, operation: str) -> Architecture:
    """With that operation on the first edges of every node."""
    chosen = {}
    for group in space.groups:
        column = space.candidates(group).index(operation)
        nodes = space.incoming(group).values()
        chosen[group] = [(row, column) for rows in nodes for row in rows[: space.kept(group)]]
    return space.derive(chosen)
