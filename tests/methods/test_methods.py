"""The table: names, options, plugins, and what it declares about costs."""

import re
from dataclasses import replace

import pytest
import torch

import expnet
from expnet.errors import MethodError, OptionError
from expnet.methods import registry
from expnet.methods.method import Method
from expnet.methods.registry import TABLE, find_method, list_methods
from tests import plugin
from tests.plugin import point


def names(methods):
    return [method.name for method in methods]


class TestTheTable:
    def test_names_are_unique_and_can_be_typed(self):
        assert len(set(names(TABLE))) == len(TABLE)
        assert all(re.fullmatch(r"[a-z_]+", name) for name in names(TABLE))

    def test_every_family_of_the_mission_is_there(self):
        assert {method.family for method in TABLE} == {
            "learned",
            "control",
            "attention",
            "gradient",
            "attention-gradient",
            "propagation",
            "perturbation",
            "surrogate",
        }
        assert len([method for method in TABLE if method.family not in ("learned", "control")]) >= 13

    def test_every_method_but_a_control_names_its_paper(self):
        for method in TABLE:
            assert method.paper or method.family == "control" or method.name.endswith("occlusion"), method.name

    def test_every_option_has_a_checkable_type(self):
        for method in TABLE:
            for name, parameter in method.options.items():
                if parameter.default is not parameter.empty:
                    method.check({name: parameter.default, **required(method)})

    def test_stochastic_methods_are_those_that_take_a_generator(self):
        for method in TABLE:
            assert ("generator" in method.supplied) == (not method.deterministic), method.name

    def test_complete_methods_say_against_what(self):
        assert all("replacement" in method.options for method in TABLE if method.complete)


def required(method):
    """Return something for each option that has no default."""
    return {name: ["a text"] for name, option in method.options.items() if option.default is option.empty}


class TestCosts:
    def test_a_class_of_cost_that_there_is_not_is_refused_where_it_is_declared(self, unchecked):
        with pytest.raises(
            MethodError, match="'first_token' declares the cost 'quadratc', expected one of 'passes', 'q"
        ):
            replace(plugin.FIRST_TOKEN, cost="quadratc")

    def test_a_quadratic_method_counts_one_more_pass_for_each_token(self):
        method = replace(plugin.FIRST_TOKEN, forward="tokens + 3", backward="layers")
        asked = {"tokens": 10, "layers": 2, "options": {}}
        assert method.passes(**asked) == (13, 2)
        assert method.work(**asked) == 15
        assert replace(method, cost="quadratic").work(**asked) == 25

    def test_only_a_number_of_passes_that_nothing_changes_is_few(self):
        few = plugin.FIRST_TOKEN
        assert few.takes_few_passes
        for other in ({"forward": "tokens"}, {"backward": "layers"}, {"cost": "quadratic"}):
            assert not replace(few, **other).takes_few_passes


class TestNames:
    def test_a_wrong_name_gets_the_nearest_valid_one(self):
        with pytest.raises(MethodError, match=r"no method 'integrated_gradient'. Did you mean 'integrated_gradients'"):
            find_method("integrated_gradient")
        with pytest.raises(
            MethodError,
            match=r"no method 'zzz'. Methods: expnet, expnet_gradient, expnet_difference, expnet_used, expnet_both, "
            "random,",
        ):
            find_method("zzz")

    def test_every_method_is_found_by_its_name(self):
        assert [find_method(name) for name in names(TABLE)] == list(TABLE)


class TestOptions:
    def test_all_problems_come_at_once_with_the_nearest_name(self):
        with pytest.raises(OptionError) as caught:
            find_method("integrated_gradients").check({"step": 3, "replacement": "delete", "steps": 2.5})
        message = str(caught.value)
        assert "there is no option 'step'; replacement is 'delete'" in message
        assert "replacement is 'delete', expected one of 'mask', 'pad', 'zero'" in message
        assert "steps is 2.5, expected a whole number" in message
        assert message.endswith(". Did you mean 'steps'? Its options: replacement, steps.")

    def test_what_expnet_supplies_is_no_option(self):
        with pytest.raises(OptionError, match="no option 'generator'"):
            find_method("smooth_grad").check({"generator": torch.Generator()})

    def test_an_option_without_a_default_must_be_given(self):
        with pytest.raises(OptionError, match="documents is missing, expected a list of str"):
            find_method("inverse_document_frequency").check({})

    def test_a_string_is_no_list_and_a_flag_no_number(self):
        with pytest.raises(OptionError, match="documents is 'a text', expected a list"):
            find_method("inverse_document_frequency").check({"documents": "a text"})
        with pytest.raises(OptionError, match="steps is True, expected a whole number"):
            find_method("integrated_gradients").check({"steps": True})

    def test_a_whole_number_is_a_number(self):
        find_method("smooth_grad").check({"noise": 1})


class TestPlugins:
    @pytest.fixture
    def install(self):
        with plugin.installing() as install:
            yield install

    def test_packages_are_looked_through_once_for_a_search_path(self, install, monkeypatch):
        install()
        looked = []
        monkeypatch.setattr(registry, "entry_points", lambda group: looked.append(group) or ())
        for path in (["a"], ["a"], ["a", "b"]):
            monkeypatch.setattr(registry.sys, "path", path)
            find_method("rollout")
        assert looked == [registry.GROUP] * 2

    def test_a_method_of_another_package_stands_at_the_end_of_the_table(self, install):
        install(point("first_token", "tests.plugin:FIRST_TOKEN"))
        assert find_method("first_token") is plugin.FIRST_TOKEN
        assert names(list_methods()) == [*names(TABLE), "first_token"]

    def test_it_explains_like_any_other(self, install, tiny):
        install(point("first_token", "tests.plugin:FIRST_TOKEN"))
        explanation = tiny.explain("good film", method="first_token")
        assert [word.score for word in explanation.words] == [1.0, 0.0]

    def test_a_taken_name_is_an_error_that_says_whose(self, install):
        install(point("rollout", "tests.plugin:FIRST_TOKEN"))
        with pytest.raises(MethodError, match="somebody-s-package brings an attribution method 'rollout', but expnet"):
            find_method("rollout")
        install(point("mine", "tests.plugin:FIRST_TOKEN"), point("mine", "tests.plugin:FIRST_TOKEN"))
        with pytest.raises(MethodError, match="'mine', but somebody-s-package has one"):
            list_methods()

    def test_something_else_than_a_method_of_that_name_is_refused(self, install):
        install(point("second_token", "tests.plugin:FIRST_TOKEN"))
        with pytest.raises(MethodError, match=r"'second_token' leads to tests.plugin:FIRST_TOKEN"):
            find_method("second_token")
        install(point("first", "tests.plugin:first_token"))
        with pytest.raises(MethodError, match=r"expected an expnet\.Method"):
            find_method("first")

    def test_others_are_not_imported_to_find_ours(self, install):
        install(point("broken", "no.such.module:METHOD"))
        assert find_method("rollout").name == "rollout"

    def test_a_wrong_name_may_be_near_a_plugin_s(self, install):
        install(point("first_token", "tests.plugin:FIRST_TOKEN"))
        with pytest.raises(MethodError, match="Did you mean 'first_token'"):
            find_method("first_tokens")


@pytest.fixture(scope="module")
def tiny():
    from tests.classifiers import tiny_classifier

    return expnet.Explainer(tiny_classifier())


def test_an_object_of_another_type_is_no_method():
    assert not isinstance(plugin.first_token, Method)
