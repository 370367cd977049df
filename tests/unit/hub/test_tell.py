from __future__ import annotations

from pathlib import Path

from tests import access
from tests.access import IMAGES_URL, open_scene
from tests.federating import open_joined_node

from carina.hub import runs
from carina.hub.tell import marks
from carina.model.principal import Principal


def test_a_new_run_changes_the_mark_of_each_of_its_nodes(tmp_path: Path) -> None:
    with (
        open_scene(tmp_path) as scene,
        open_joined_node(tmp_path / "second", scene.hub, seed=2, public_url=IMAGES_URL) as (second, _),
    ):
        access.publish(scene.hub, second, 2, title="Second CT")
        access.member(scene.hub, second.id, "carlos")
        asked = access.ask_for(scene.hub, scene.rosa, access.iri(2))
        carlos = Principal("carlos", scene.hub.id, frozenset({"researcher"}))
        permits = [access.permit_for(scene), access.grant(scene.hub, carlos, asked.items[0].id)]
        for permit in permits:
            access.hear(scene.hub, permit)
        before = marks(scene.hub)
        runs.start(scene.hub, scene.rosa, [permit.id for permit in permits], "signal-statistics")
        after = marks(scene.hub)
        assert {before[node].jobs for node in (scene.node.id, second.id)} == {(0, 0)}
        assert {after[node].jobs for node in (scene.node.id, second.id)} == {(1, 0)}
