"""Parts of a cohort for jobs side by side, by what their images cost."""

from __future__ import annotations

from umdlib.cohort.manifest import Cohort
from umdlib.errors import InputError
from umdlib.images.header import voxel_count


def shard_subjects(cohort: Cohort, session: str, shard: int, shards: int) -> list[str]:
    """Subjects of one of several parts of a session that hold about as many voxels each.

    The subject with most voxels goes to the part with fewest, one after the other.

    Parameters
    ----------
    cohort
        The whole; the headers of its images are read where there are several parts.
    session
        Of the part.
    shard, shards
        Which of how many parts, counted from 0.

    Returns
    -------
    list of str
        In the order of the cohort.

    Raises
    ------
    InputError
        There is no such part.
    """
    if not 0 <= shard < shards:
        raise InputError(f"Invalid shard {shard} of {shards}. Must be 0 to {shards - 1}.")
    subjects = cohort.subjects(session)
    if shards == 1:
        return list(subjects)
    cost = dict.fromkeys(subjects, 0)
    for case in cohort.cases:
        if case.session == session:
            cost[case.subject] += voxel_count(case.image)
    load, place = [(0, 0)] * shards, {}  # voxels, then subjects: where no header can be read, by number
    for subject in sorted(subjects, key=lambda s: (-cost[s], s)):
        least = min(range(shards), key=load.__getitem__)
        place[subject] = least
        load[least] = (load[least][0] + cost[subject], load[least][1] + 1)
    return [s for s in subjects if place[s] == shard]
