# Oracle of test_paired_means.py: t.test on pairs; the limits in percent of the first mean are the ratios at which
# t.test(after - ratio * before) gives p = 1 - level (Fieller). Run in this folder: Rscript paired_means.R
rows <- list()
sizes <- c(dice = 40, few = 5, rates = 23)
steps <- c(dice = 400, few = 300, rates = 60)
for (name in names(sizes)) for (level in c(0.95, 0.9)) {
  i <- 0:(sizes[[name]] - 1)
  before <- 0.5 + ((i * 37) %% 41) / 100
  after <- before - 0.02 + ((i * 53) %% 29 - 14) / steps[[name]]
  test <- t.test(after, before, paired = TRUE, conf.level = level)
  best <- mean(after) / mean(before)
  gap <- function(ratio) t.test(after - ratio * before)$p.value - (1 - level)
  low <- uniroot(gap, c(best - 2, best), tol = 1e-13)$root
  high <- uniroot(gap, c(best, best + 2), tol = 1e-13)$root
  rows[[length(rows) + 1]] <- data.frame(
    set = name, level = level, n = length(i), difference = test$estimate, low = test$conf.int[1], high = test$conf.int[2],
    p = test$p.value, percent_low = 100 * (low - 1), percent_high = 100 * (high - 1)
  )
}
table <- do.call(rbind, rows)
for (column in c("difference", "low", "high", "p", "percent_low", "percent_high")) {
  table[[column]] <- sprintf("%.13g", table[[column]])
}
table$r <- paste(R.version$major, R.version$minor, sep = ".")
write.csv(table, "paired_means.csv", row.names = FALSE, quote = FALSE)
