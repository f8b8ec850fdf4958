"""Prompts: includes that stay in their folder, variables that are put in once. Promise B12."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.workflows.errors import InvalidPromptError, PromptError
from callboard.workflows.findings import Severity
from callboard.workflows.prompts import BundlePrompts, FolderPrompts, Prompt, compile_prompt, load_prompt
from callboard.workflows.references import Scope, StepView

SCOPE = Scope(
    input={"city": "Seattle", "tags": ["a"], "nothing": None},
    context={"tone": "kind"},
    steps={"places": StepView({"count": 2})},
    locals={"item": {"n": 1}},
)


def prompt_of(text: str, **files: str) -> Prompt:
    return compile_prompt(text, BundlePrompts({name.replace("__", "/") + ".md": body for name, body in files.items()}))


class TestRender:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("Hi ${name}, {{name}}, {{ name }}", "Hi Ada, Ada, Ada", id="variables"),
            pytest.param("${order.id} {{order.id}}", "7 7", id="path into a variable"),
            pytest.param(
                "${input.city} {{input.city}} ${context.tone}", "Seattle Seattle kind", id="input and context"
            ),
            pytest.param("${steps.places.count} ${item.n}", "2 1", id="steps and loop names"),
            pytest.param("${order} ${input.tags} <${input.nothing}>", '{"id":7} ["a"] <>', id="values as text"),
            pytest.param('${input.zip ?? "?"}', "?", id="default"),
            pytest.param(
                "{{other}} {{ two words }} {{input}} {x}",
                "{{other}} {{ two words }} {{input}} {x}",
                id="undefined words stay",
            ),
            pytest.param('costs $${order.id} ${"${"}x}', "costs $7 ${x}", id="dollar signs"),
            pytest.param("${input}", "own", id="a variable hides what it is called after"),
            pytest.param("", "", id="empty"),
        ],
    )
    def test_puts_values_in(self, text: str, expected: str) -> None:
        variables = {"name": "Ada", "order": {"id": 7}} | ({"input": "own"} if text == "${input}" else {})

        assert prompt_of(text).render(variables, SCOPE) == expected

    @given(st.text(alphabet="${}name:includ.md \n\\"))
    def test_never_looks_again_at_what_was_put_in(self, value: str) -> None:
        prompt = prompt_of("<${name}|{{name}}>", a="included")

        assert prompt.render({"name": value + "{{include:a.md}}${name}"}, SCOPE) == (
            f"<{value}{{{{include:a.md}}}}${{name}}|{value}{{{{include:a.md}}}}${{name}}>"
        )

    def test_names_file_and_nearest_name_where_nothing_is_there(self) -> None:
        prompt = load_prompt(BundlePrompts({"a.md": "${nmae}"}), "a.md")

        with pytest.raises(
            PromptError, match=re.escape('prompt a.md: There is nothing called "nmae" here. Did you mean "name"?')
        ):
            prompt.render({"name": 1}, SCOPE)

    def test_a_wrong_key_of_a_known_word_is_an_error(self) -> None:
        with pytest.raises(PromptError, match=re.escape('"idd" is not in order. Did you mean "id"?')):
            prompt_of("{{order.idd}}").render({"order": {"id": 7}}, SCOPE)


class TestIncludes:
    def test_are_relative_to_the_file_they_stand_in(self) -> None:
        prompt = prompt_of(
            "A{{include:sub/b.md}}D",
            sub__b="B{{ include: ../c.md }}",
            c="C{{include:sub/deep/e.md}}",
            sub__deep__e="${x}",
        )

        assert prompt.render({"x": "!"}, SCOPE) == "ABC!D"
        assert sorted(prompt.files) == ["c.md", "sub/b.md", "sub/deep/e.md"]

    def test_may_take_one_file_twice(self) -> None:
        assert prompt_of("{{include:a.md}}{{include:./a.md}}", a="x").render({}, SCOPE) == "xx"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            pytest.param("{{include:gone.md}}", 'There is no prompt file "gone.md"', id="missing"),
            pytest.param("{{include:aa.md}}", 'Did you mean "a.md"?', id="nearest"),
            pytest.param("{{include:../a.md}}", '"../a.md" leaves the prompts folder', id="up and out"),
            pytest.param("{{include:sub/../../a.md}}", "leaves the prompts folder", id="out by a detour"),
            pytest.param("{{include:/etc/passwd}}", "leaves the prompts folder", id="absolute"),
            pytest.param("{{include:}}", "is no path of a prompt file", id="empty"),
            pytest.param("{{include:a\\b.md}}", "is no path of a prompt file", id="backslash"),
            pytest.param("{{include:a\x00.md}}", "is no path of a prompt file", id="NUL"),
        ],
    )
    def test_stay_in_the_folder(self, text: str, problem: str) -> None:
        with pytest.raises(InvalidPromptError) as caught:
            prompt_of(text, a="x")

        assert problem in caught.value.message

    def test_a_missing_file_names_the_one_that_wants_it(self) -> None:
        with pytest.raises(InvalidPromptError, match=r'no prompt file "gone.md".*included by b.md') as caught:
            prompt_of("{{include:b.md}}", b="{{include:gone.md}}")

        assert caught.value.file == "b.md"

    def test_a_cycle_is_named_with_the_whole_chain(self) -> None:
        with pytest.raises(InvalidPromptError, match=r"in a circle: a.md -> b.md -> c.md -> a.md"):
            prompt_of("{{include:a.md}}", a="{{include:b.md}}", b="{{include:c.md}}", c="{{include:a.md}}")

    def test_go_ten_deep_and_no_deeper(self) -> None:
        files = {f"p{n}": f"{n}{{{{include:p{n + 1}.md}}}}" for n in range(11)}

        with pytest.raises(InvalidPromptError, match="more than 10 deep"):
            prompt_of("{{include:p0.md}}", **files, p11="end")
        assert prompt_of("{{include:p1.md}}", **files, p11="end").render({}, SCOPE) == "12345678910end"

    def test_cannot_grow_without_end(self) -> None:
        files = {f"p{n}": f"{{{{include:p{n + 1}.md}}}}" * 10 for n in range(8)}

        with pytest.raises(InvalidPromptError, match="1,000 files"):
            prompt_of("{{include:p0.md}}", **files, p8="x" * 1000)


class TestLoadPrompt:
    def test_names_file_and_line_of_a_bad_reference(self) -> None:
        with pytest.raises(
            InvalidPromptError, match=r"prompt a.md: the reference \$\{x cannot be read.*\(line 2\)"
        ) as caught:
            load_prompt(BundlePrompts({"a.md": "one\n${x"}), "a.md")

        assert caught.value.file == "a.md"

    def test_keeps_every_file_it_took(self) -> None:
        files = {"a.md": "{{include:sub/b.md}}", "sub/b.md": "b", "unused.md": ""}

        prompt = load_prompt(BundlePrompts(files), "./a.md")

        assert prompt.path == "a.md"
        assert prompt.files == {"a.md": files["a.md"], "sub/b.md": "b"}
        assert load_prompt(BundlePrompts(prompt.files), "a.md") == prompt


class TestCheck:
    def test_tells_undefined_names_and_words_once_each(self) -> None:
        prompt = load_prompt(BundlePrompts({"a.md": "${nmae} ${nmae} {{tonne}} ${input.x} {{name}} ${item.n}"}), "a.md")

        problems = prompt.check(["name", "tone"], local_names=["item"])

        assert [(each.severity, each.code, each.file) for each in problems] == [
            (Severity.ERROR, "undefined_variable", "a.md"),
            (Severity.WARNING, "undefined_word", "a.md"),
        ]
        assert problems[0].message == 'prompt a.md: nothing defines ${nmae}. Did you mean "name"?'
        assert (
            problems[1].message == 'prompt a.md: nothing defines {{tonne}}, so it stays as it is. Did you mean "tone"?'
        )

    def test_lists_references_and_words(self) -> None:
        prompt = prompt_of("${steps.a.output} {{x}} {{x}} {{y.z}}")

        assert [each.text for each in prompt.references] == ["steps.a.output"]
        assert prompt.words == ("x", "y.z")


class TestFolderPrompts:
    def test_reads_files_below_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "a.md").write_text("é")

        source = FolderPrompts(tmp_path)

        assert source.read("sub/a.md") == "é"
        assert source.paths() == ["sub/a.md"]

    def test_does_not_follow_a_link_out_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "secret.md").write_text("secret")
        root = tmp_path / "prompts"
        root.mkdir()
        (root / "file.md").symlink_to(tmp_path / "secret.md")
        (root / "folder").symlink_to(tmp_path)

        for path in ("file.md", "folder/secret.md", "../secret.md", str(tmp_path / "secret.md")):
            with pytest.raises(InvalidPromptError, match="leaves the prompts folder"):
                FolderPrompts(root).read(path)

    def test_follows_a_link_that_stays_inside(self, tmp_path: Path) -> None:
        (tmp_path / "a.md").write_text("x")
        (tmp_path / "b.md").symlink_to("a.md")

        assert FolderPrompts(tmp_path).read("b.md") == "x"

    def test_refuses_a_loop_of_links(self, tmp_path: Path) -> None:
        (tmp_path / "a.md").symlink_to("b.md")
        (tmp_path / "b.md").symlink_to("a.md")

        with pytest.raises(InvalidPromptError):
            FolderPrompts(tmp_path).read("a.md")

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            pytest.param(b"ab\xff", r"is not UTF-8 \(byte 2\)", id="not UTF-8"),
            pytest.param(b"x" * 1_000_001, "larger than 1,000,000 bytes", id="too large"),
        ],
    )
    def test_refuses_what_is_no_prompt(self, tmp_path: Path, content: bytes, problem: str) -> None:
        (tmp_path / "a.md").write_bytes(content)

        with pytest.raises(InvalidPromptError, match=problem):
            FolderPrompts(tmp_path).read("a.md")

    def test_names_the_nearest_file(self, tmp_path: Path) -> None:
        (tmp_path / "reply.md").write_text("x")

        with pytest.raises(
            InvalidPromptError, match=re.escape('no prompt file "repyl.md". Did you mean "reply.md"?')
        ) as caught:
            FolderPrompts(tmp_path).read("repyl.md")

        assert caught.value.code == "prompt_not_found"


class TestHostileFiles:
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("{{include:" + " " * 900_000, id="blanks"),
            pytest.param("{{include:" * 90_000, id="includes that never end"),
            pytest.param("{{" * 450_000, id="braces"),
            pytest.param("{{ " + "a" * 900_000, id="word that never ends"),
            pytest.param("{{a" + ".a" * 400_000, id="path that never ends"),
        ],
    )
    def test_are_read_as_text(self, text: str) -> None:
        assert prompt_of(text).render({}, SCOPE) == text
