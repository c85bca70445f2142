"""Every import path of release 0.1.0 still leads to what it led to."""

from importlib import import_module

import pytest

PATHS = {
    "ntxent": "HealthMonitor InfoNCELoss MoCoLoss NTXentCallback NTXentLoss SupConLoss "
    "__version__ bounds diagnose diagnosis engines functional gradcache info_nce_loss losses "
    "measures nt_xent_loss reference sup_con_loss",
    "ntxent.functional": "ContrastiveStats LossOptions info_nce_loss nt_xent_loss sup_con_loss",
    "ntxent.losses": "InfoNCELoss MoCoLoss NTXentLoss SupConLoss",
    "ntxent.bounds": "SIMILARITY_SLACK THEOREMS VARIANTS Interval Limits Theorem Variant "
    "candidate_similarity_interval ceiling chance floor gradient_bound info_nce_interval limits "
    "log_kernel_mean log_sum_exp_bound measured_floor moco_interval position random_loss "
    "similarity_gap similarity_gradient_bound similarity_interval similarity_limit "
    "sup_con_interval uniformity_floor upper_bound",
    "ntxent.diagnosis": "Alternative Diagnosis Verdict diagnose tolerance",
    "ntxent.trajectory": "Series Stretch Trajectory judge",
    "ntxent.logs": "Log Settings find_settings read_log",
    "ntxent.analysis": "Analysis analyze exact_loss",
    "ntxent.measures": "MeanSimilarities SimilarityHistogram alignment contrastive_accuracy "
    "effective_rank mean_similarities similarity_histogram uniformity unit_pairs unit_rows",
    "ntxent.reference": "dense_nt_xent_loss nt_xent_loss",
    "ntxent.gradient_cache": "gradcache",
    "ntxent.engines": "Engine EngineStatus accumulation_dtype get row_dtype select status",
    "ntxent.distributed": "Mode join",
    "ntxent.monitor": "HealthMonitor NTXentCallback",
    "ntxent.report": "write_analysis write_explorer write_report",
    "ntxent.simclr": "AugmentationConfig DataConfig EvaluationConfig ModelConfig OptimizerConfig "
    "TrainConfig",
    "ntxent.simclr.training": "train",
    "ntxent.compat.lightly": "NTXentLoss",
    "ntxent.compat.open_clip": "ClipLoss",
    "ntxent.compat.pytorch_metric_learning": "NTXentLoss SelfSupervisedLoss",
    "ntxent.compat.sup_contrast": "SupConLoss",
    "ntxent.cli": "main",
}


@pytest.mark.parametrize("module", PATHS)
def test_a_path_of_the_first_release_still_works(module):
    missing = [n for n in PATHS[module].split() if not hasattr(import_module(module), n)]
    assert not missing
