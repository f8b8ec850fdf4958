"""What `require` promises before any request."""

import pytest

from callboard.accounts.auth import check_scope, require
from callboard.accounts.caller import Caller
from callboard.accounts.errors import MissingScopeError
from callboard.accounts.scopes import KeyScope, expand_scopes
from callboard.core.repository import TenantScope


def caller(*scopes: str) -> Caller:
    return Caller(
        tenant=TenantScope("default"), tenant_id="default", user_id=None, scopes=expand_scopes(scopes), key_id="k"
    )


class TestRequire:
    def test_is_the_same_dependency_for_the_same_scope(self) -> None:
        assert require("jobs:read") is require("jobs:read") is not require("jobs:write")

    def test_refuses_a_scope_that_does_not_exist(self) -> None:
        with pytest.raises(ValueError, match="no scope 'jobs:reed'"):
            require("jobs:reed")


class TestCheckScope:
    @pytest.mark.parametrize("scope", list(KeyScope))
    def test_lets_an_admin_do_everything(self, scope: str) -> None:
        check_scope(caller("admin"), scope)

    @pytest.mark.parametrize("scope", ["jobs:write", "workflows:write", "admin"])
    def test_lets_others_do_what_they_hold_alone(self, scope: str) -> None:
        check_scope(caller("jobs:read"), "jobs:read")

        with pytest.raises(MissingScopeError, match=f"needs a key with the scope {scope}"):
            check_scope(caller("jobs:read"), scope)
