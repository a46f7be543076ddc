import pytest

from tests.support.brokers import Site, need_mosquitto


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    need_mosquitto()
    return Site(tmp_path_factory.mktemp("certificates") / "ca")
