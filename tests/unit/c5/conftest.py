import pytest

from tests.unit.c5.kit import Gateway, Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def gateway(site: Site) -> Gateway:
    return Gateway(site.own("gateway", "pa-dar-0017"))
