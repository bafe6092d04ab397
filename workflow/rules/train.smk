rule train:
    """Train one model under one loss; a training that was cut off goes on where it stopped."""
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
        f"<results>/logs/train/{suite.run_pattern}.log",
    resources:
        mem_mb=lambda w, attempt: requests.memory_mb("train", attempt, MAY_USE_GPU),
        runtime=minutes_of_training,
        gpu=int(MAY_USE_GPU),
    params:
        code=code_of_training,
        settings=settings_of_training,
        device=suite.config.device,
    script:
        "../scripts/train.py"
