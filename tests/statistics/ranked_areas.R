# Oracle of test_ranked_areas.py. pROC gives the ROC area and the partial area over specificities 1 to 0.9, raw and on
# McClish's scale; areas under the precision-recall curve are written out from the definition, with a loop over thresholds.
# Run in this folder: Rscript ranked_areas.R. Scores are made of whole-number arithmetic, so that Python makes the same.
suppressMessages(library(pROC))

precision_recall <- function(truth, value) {
  recall <- 0
  precision <- 1
  for (threshold in sort(unique(value), decreasing = TRUE)) {
    found <- value >= threshold
    recall <- c(recall, sum(found & truth == 1) / sum(truth == 1))
    precision <- c(precision, sum(found & truth == 1) / sum(found))
  }
  k <- seq_along(recall)[-1]
  c(average = sum((recall[k] - recall[k - 1]) * precision[k]),
    trapezoid = sum((recall[k] - recall[k - 1]) * (precision[k] + precision[k - 1]) / 2))
}

rows <- list()
for (case in 0:7) {
  count <- 40 + 37 * case
  i <- seq_len(count) - 1
  truth <- as.numeric((i + case) %% (5 + 2 * case) == 0)
  # many ties for even cases; for odd ones hardly any
  value <- (i * i * (case + 3) + 11 * i) %% (if (case %% 2 == 0) 13 else 997) + (4 + 300 * (case %% 2)) * truth
  curve <- roc(truth, value, levels = c(0, 1), direction = "<", quiet = TRUE)
  pr <- precision_recall(truth, value)
  partial <- function(corrected) {
    as.numeric(auc(curve, partial.auc = c(1, 0.9), partial.auc.focus = "specificity", partial.auc.correct = corrected))
  }
  rows[[case + 1]] <- data.frame(
    case = case, n = count, positive = sum(truth), roc_auc = as.numeric(auc(curve)), proc_auc = partial(FALSE) / 0.1,
    proc_auc_mcclish = partial(TRUE), pr_auc_average_precision = pr[["average"]], pr_auc_trapezoid = pr[["trapezoid"]]
  )
}
table <- do.call(rbind, rows)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$pROC <- as.character(packageVersion("pROC"))
write.csv(format(table, digits = 16), "ranked_areas.csv", row.names = FALSE, quote = FALSE)
