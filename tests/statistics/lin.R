# Oracle of test_concordance.py: Lin's coefficient with the interval of the z-transform, by epiR.
# Run in this folder: Rscript lin.R. Values are whole-number arithmetic, so that Python makes the same.
suppressMessages(library(epiR))
rows <- list()
for (case in 0:5) for (level in c(0.95, 0.8)) {
  n <- 5 + 4 * case
  i <- seq_len(n) - 1
  x <- (i * i * 3 + 5 * i) %% 23 + 1
  y <- x * (10 + case) / 10 + (i * i + 2 * i) %% 7 + 3 * case
  found <- epi.ccc(x, y, ci = "z-transform", conf.level = level)$rho.c
  rows[[length(rows) + 1]] <- data.frame(
    case = case, n = n, level = level, ccc = found$est, low = found$lower, high = found$upper
  )
}
table <- do.call(rbind, rows)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$epiR <- as.character(packageVersion("epiR"))
write.csv(format(table, digits = 15), "lin.csv", row.names = FALSE, quote = FALSE)
