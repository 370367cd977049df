"""Access committees: the accounts that decide on requests for the datasets of a node."""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, insert, select
from sqlalchemy.exc import IntegrityError

from carina.errors import Conflict, NotAllowed, NotFound
from carina.hub.centre import Hub
from carina.hub.nodes import get_node
from carina.model.clock import stamp
from carina.storage.hub_schema import committees, hub_tables

_accounts = hub_tables.tables["accounts"]


def add(hub: Hub, node: str, account: str, actor: str = "operator") -> None:
    """Let an account decide on the datasets of a node. `NotFound` for either, `Conflict` when it does already."""
    get_node(hub, node)
    row = {"node": node, "account": account, "since": stamp()}
    with hub.engine.begin() as connection:
        if connection.execute(select(_accounts.c.name).where(_accounts.c.name == account)).first() is None:
            raise NotFound("There is no account of this name.", "Make it with `carina hub account add`.")
        try:
            connection.execute(insert(committees), row)
        except IntegrityError:
            raise Conflict("The account is on this node's committee already.", "There is nothing to do.") from None
        hub.audit.append("committee-joined", actor, account, connection, node=node)


def remove(hub: Hub, node: str, account: str, actor: str = "operator") -> None:
    """Let an account no longer decide on a node's datasets; what it decided stands. `NotFound` if it does not."""
    get_node(hub, node)
    this = (committees.c.node == node) & (committees.c.account == account)
    with hub.engine.begin() as connection:
        if connection.execute(delete(committees).where(this)).rowcount == 0:
            raise NotFound("The account is not on this node's committee.", "`carina hub committee list` shows who is.")
        hub.audit.append("committee-left", actor, account, connection, node=node)


def members(hub: Hub, node: str) -> list[str]:
    """The accounts on a node's committee, by name. `NotFound` for a node that the hub never had."""
    get_node(hub, node)
    wanted = select(committees.c.account).where(committees.c.node == node).order_by(committees.c.account)
    with hub.engine.connect() as connection:
        return list(connection.execute(wanted).scalars())


def nodes_of(hub: Hub, account: str) -> list[str]:
    """The ids of the nodes on whose datasets an account decides."""
    wanted = select(committees.c.node).where(committees.c.account == account).order_by(committees.c.node)
    with hub.engine.connect() as connection:
        return list(connection.execute(wanted).scalars())


def is_member(hub: Hub, node: str, account: str) -> bool:
    """Whether an account decides on the datasets of a node."""
    with hub.engine.connect() as connection:
        return sits(connection, node, account)


def sits(connection: Connection, node: str, account: str) -> bool:
    """`is_member`, in the caller's transaction."""
    this = (committees.c.node == node) & (committees.c.account == account)
    return bool(connection.execute(select(exists().where(this))).scalar_one())


def require_member(connection: Connection, node: str, account: str) -> None:
    """Raise `NotAllowed` unless the account decides on the datasets of the node."""
    if not sits(connection, node, account):
        raise NotAllowed(
            "Only the access committee of the dataset's data holder decides on this.",
            "Sign in with an account of that committee.",
        )
