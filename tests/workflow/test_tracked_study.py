"""A study whose trainings cannot be tracked: said before any job starts, and of no other job."""

from workflow_project import SMALL, Project


def test_a_missing_key_ends_a_study_before_its_first_job(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    project = Project.fresh(tmp_path / "project")
    project.write_study("small", {**SMALL, "overrides": {"tracking": {"report_to": ["wandb"]}}})
    study = ("--config", "study=small")
    done = project.snakemake(*study)
    assert done.returncode != 0
    assert "\nerror: tracking.report_to: wandb has no key for https://" in done.stdout
    assert "Traceback" not in done.stdout
    assert not project.path("results").exists()
    project.run("results/small/data/run.json", *study)  # trains nothing
