"""Commands on the page of trainings are those of the released networks' cards."""

import pytest

from umdbook.chapters import reproduce
from umdbook.chapters import train_promptable as chapter
from umdlib.errors import InputError
from umdlib.weights import card


def test_every_command_is_one_of_the_program_and_has_its_cards_numbers():
    blocks = chapter.commands()
    assert len(blocks) == 5
    for lines in blocks.values():
        made, train = lines.replace("\\\n", "").splitlines()
        reproduce.check(made)
        reproduce.check(train)
        name = train.split("--name ")[1].split()[0]
        data, settings = card.read(name).data, card.read(name).settings
        assert f"--seed {data['seed']}" in made and f"--subjects {data['subjects'] // 2} " in made
        assert f"--steps {settings['steps']}" in train and f"--trained-on {settings['trained_on']}" in train
    with pytest.raises(InputError):
        reproduce.check(train.replace("--steps", "--paces"))
