# Writes delong_expected.csv: AUC, its standard error, and DeLong's test of two readers with ties, by pROC.
# Run in this folder: Rscript delong.R. Scores are made of whole-number arithmetic, so that Python makes the same.
suppressMessages(library(pROC))

scores <- function(case, reader, count) {
  i <- seq_len(2 * count) - 1
  truth <- as.numeric(i < count)
  # 0, .1, ..., 1.6: ties within and between the groups, and readers that agree in part
  value <- ((i * i * (case + 3) + 7 * i) %% 11 + (i * (reader + 2 * case + 1)) %% 5 + 2 * truth) / 10
  list(truth = truth, value = value)
}

rows <- list()
for (case in 0:5) {
  count <- 12 + 9 * case
  first <- scores(case, 0, count)
  second <- scores(case, 1, count)
  a <- roc(first$truth, first$value, levels = c(0, 1), direction = "<", quiet = TRUE)
  b <- roc(second$truth, second$value, levels = c(0, 1), direction = "<", quiet = TRUE)
  test <- roc.test(a, b, method = "delong", paired = TRUE)
  rows[[case + 1]] <- data.frame(
    case = case, size = count, auc_first = as.numeric(auc(a)), auc_second = as.numeric(auc(b)),
    se_first = sqrt(var(a, method = "delong")), z = as.numeric(test$statistic), p = test$p.value
  )
}
table <- do.call(rbind, rows)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$pROC <- as.character(packageVersion("pROC"))
write.csv(format(table, digits = 16), "delong_expected.csv", row.names = FALSE, quote = FALSE)
