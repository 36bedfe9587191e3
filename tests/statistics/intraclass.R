# Oracle of test_concordance.py: ICC(2,1) with its interval, by psych.
# Run in this folder: Rscript intraclass.R. Ratings are whole-number arithmetic, so that Python makes the same.
suppressMessages(library(psych))
ratings <- function(case, n, k) outer(seq_len(n) - 1, seq_len(k) - 1, function(i, j)
  5 * i + (i * i * (case + 2) + 3 * i * j + 7 * j * j) %% 11 + case * j)
rows <- list()
for (case in 0:3) for (k in 2:3) {
  n <- 6 + 5 * case
  for (level in c(0.95, 0.9)) {
    found <- ICC(ratings(case, n, k), alpha = 1 - level, lmer = FALSE)$results["Single_random_raters", ]
    rows[[length(rows) + 1]] <- data.frame(
      case = case, n = n, raters = k, level = level, icc = found$ICC, low = found[["lower bound"]],
      high = found[["upper bound"]]
    )
  }
}
table <- do.call(rbind, rows)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$psych <- as.character(packageVersion("psych"))
write.csv(format(table, digits = 15), "intraclass.csv", row.names = FALSE, quote = FALSE)
