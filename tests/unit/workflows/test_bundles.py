"""Bundles: one value with all that a run reads. Promise P6."""

import hashlib
import json
import re

import pytest

from callboard.core.json_values import UnstorableValueError
from callboard.workflows.bundles import Bundle

BUNDLE = Bundle(
    definition={"name": "hello", "steps": [{"id": "é", "n": 1.5}]},
    prompts={"a.md": "Hi ${name}", "b.md": ""},
    markdown_schemas={"s": {"headings": []}},
    defaults={"provider": "sandbox", "model": "m", "model_aliases": {}},
)


class TestContentHash:
    def test_does_not_depend_on_the_order_of_keys(self) -> None:
        turned = Bundle(
            definition={"steps": [{"n": 1.5, "id": "é"}], "name": "hello"},
            prompts={"b.md": "", "a.md": "Hi ${name}"},
            markdown_schemas=BUNDLE.markdown_schemas,
            defaults=BUNDLE.defaults,
        )

        assert turned.content_hash == BUNDLE.content_hash
        assert len(BUNDLE.content_hash) == 64

    @pytest.mark.parametrize("field", ["definition", "prompts", "markdown_schemas", "defaults"])
    def test_changes_with_every_part(self, field: str) -> None:
        content = json.loads(BUNDLE.to_json())
        content[field]["more"] = "x"

        assert Bundle.from_json(json.dumps(content)).content_hash != BUNDLE.content_hash


class TestToJson:
    def test_comes_back_as_the_same_bundle(self) -> None:
        again = Bundle.from_json(BUNDLE.to_json())

        assert again == BUNDLE
        assert again.content_hash == BUNDLE.content_hash

    def test_refuses_what_cannot_be_stored(self) -> None:
        with pytest.raises(UnstorableValueError, match=re.escape("/prompts/a.md: a NUL character")):
            Bundle(definition={}, prompts={"a.md": "\x00"}).to_json()


class TestWorkflows:
    def test_come_back_from_json_with_the_same_hash(self) -> None:
        inner = Bundle(definition={"name": "low"}, prompts={"p.md": "Hi"}, defaults={"model": "m"})
        bundle = Bundle(definition={"name": "top"}, workflows={"low": inner})

        read = Bundle.from_json(bundle.to_json())

        assert read == bundle
        assert read.content_hash == bundle.content_hash

    def test_are_part_of_the_hash(self) -> None:
        one, two = (
            Bundle(definition={}, workflows={"low": Bundle(definition={}, defaults={"model": model})}) for model in "ab"
        )

        assert one.content_hash != two.content_hash

    def test_are_left_out_where_there_are_none_so_that_stored_bundles_keep_their_hash(self) -> None:
        stored = '{"definition":{"name":"x"},"prompts":{},"markdown_schemas":{},"defaults":{}}'

        bundle = Bundle.from_json(stored)

        assert bundle.to_json() == stored
        assert (
            bundle.content_hash
            == hashlib.sha256(
                b'{"defaults":{},"definition":{"name":"x"},"markdown_schemas":{},"prompts":{}}'
            ).hexdigest()
        )
