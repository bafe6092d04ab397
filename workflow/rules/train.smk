rule train:
    """Train and evaluate runs that share dataset, model, variant and seed, in one job.

    Runs that are done stay as they are, and one that was cut off goes on where it stopped. The
    receipt names what is in the runs' folders, with digests.
    """
    input:
        graphs=graphs_of,
        splits="<results>/data/{dataset}/splits.csv",
        statistics="<results>/statistics/{dataset}/statistics.json",
        labels="<results>/statistics/{dataset}/labels.csv",
    output:
        receipt=f"<results>/groups/{suite.group_pattern}/group.json",
    log:
        f"<results>/logs/train/{suite.group_pattern}.log",
    resources:
        mem_mb=memory_of_training,
        runtime=minutes_of_training,
        gpu=int(MAY_USE_GPU),
    params:
        code=code_of_training,
        settings=settings_of_training,
        device=suite.config.device,
        runs=lambda w: [str(run.folder) for run in runs_of_job(w)],
        folder=str(RESULTS / "runs"),
    script:
        "../scripts/train.py"


rule train_run:
    """Train one run that is asked for by name, whether it is in the plan or not."""
    input:
        graphs=graphs_of,
        splits="<results>/data/{dataset}/splits.csv",
        statistics="<results>/statistics/{dataset}/statistics.json",
    output:
        record=run_file(RECORD),
        weights=run_file("weights.pt"),
        history=run_file("history.csv"),
        loss_signal=run_file("loss_signal.csv.gz"),
        gradient_signal=run_file("gradient_signal.csv"),
        predictions=run_file("predictions.npz"),
    log:
        f"<results>/logs/train_run/{suite.run_pattern}.log",
    resources:
        mem_mb=memory_of_training,
        runtime=minutes_of_training,
        gpu=int(MAY_USE_GPU),
    params:
        code=code_of_training,
        settings=settings_of_training,
        device=suite.config.device,
    script:
        "../scripts/train_run.py"
