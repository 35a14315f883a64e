from benchmarks.smoothers import CONTESTANTS, draw, race, table


def test_a_short_race(tmp_path):
    outcomes = list(race("box", 0.05, 16, 1))
    assert [each.contestant for each in outcomes] == list(CONTESTANTS)
    assert all(each.steps >= 2 for each in outcomes)
    heading, *rows = table(outcomes).splitlines()
    assert heading.split()[:3] == ["shape", "contestant", "steps"]
    assert [row.split()[0] for row in rows] == ["box", "box"]
    draw(outcomes, tmp_path / "race.png")
    assert (tmp_path / "race.png").stat().st_size > 1000
