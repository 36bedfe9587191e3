# Oracle of test_survival_predictions.py. survival::concordance gives Harrell's C (timewt "n") and Uno's (timewt "n/G2"), with
# and without a horizon (ymax); survfit the Kaplan-Meier curve of the censoring. Antolini's concordance and the Brier score
# weighted for censoring (Graf et al. 1999), which no installed package has, are written out from their definitions.
# Run in this folder: Rscript survival_predictions.R. Whole-number arithmetic, so that Python makes the same table.
suppressMessages(library(survival))
i <- 0:89
# whole weeks: ties of events, of censored times and of both; the second table has hardly any
tables <- list(
  ties = data.frame(time = (i * i * 3 + 5 * i) %% 23 + 2, event = as.numeric((i * 7) %% 5 < 3)),
  few = data.frame(time = ((i * i * 5 + 11 * i) %% 89) + i / 100 + 1, event = as.numeric((i * 11) %% 13 < 6))
)
at <- list(ties = c(3, 6, 9.5, 14, 20), few = c(5, 20, 40.5, 60, 80))
rows <- list()
add <- function(table, name, value) rows[[length(rows) + 1]] <<- data.frame(table = table, name = name, value = value)
for (name in names(tables)) {
  d <- tables[[name]]
  d$risk <- round((d$time * -2 + (i * 17) %% 41) / 7, 1)
  horizon <- at[[name]][4]
  for (weight in c("n", "n/G2")) for (end in c(Inf, horizon)) {
    found <- if (is.finite(end)) {
      concordance(Surv(time, event) ~ risk, d, timewt = weight, ymax = end, reverse = TRUE)
    } else {
      concordance(Surv(time, event) ~ risk, d, timewt = weight, reverse = TRUE)
    }
    add(name, paste0(if (weight == "n") "harrell" else "uno", if (is.finite(end)) "_horizon" else ""), found$concordance)
  }
  # survival curves that cross: S(t) = exp(-(t / scale) ^ shape)
  scale <- 8 + 2 * ((i * 5) %% 19)
  shape <- 1 + ((i * 3) %% 5) / 4
  S <- sapply(at[[name]], function(t) exp(-(t / scale)^shape))
  step <- function(k, t) { p <- sum(at[[name]] <= t); if (p == 0) 1 else S[k, p] }
  won <- pairs <- 0
  for (k in which(d$event == 1)) for (j in seq_along(i)) {
    if (d$time[k] < d$time[j] || (d$time[k] == d$time[j] && d$event[j] == 0)) {
      pairs <- pairs + 1
      a <- step(k, d$time[k])
      b <- step(j, d$time[k])
      won <- won + (a < b) + 0.5 * (a == b)
    }
  }
  add(name, "antolini", won / pairs)
  censoring <- survfit(Surv(time, 1 - event) ~ 1, d) # events come before censoring at one time: see below
  G <- function(t, before) {
    share <- 1
    for (u in sort(unique(d$time[d$event == 0]))) {
      if (u > t || (before && u == t)) break
      share <- share * (1 - sum(d$time == u & d$event == 0) / (sum(d$time > u) + sum(d$time == u & d$event == 0)))
    }
    share
  }
  if (name == "few") stopifnot(isTRUE(all.equal(G(40.5, FALSE), summary(censoring, 40.5)$surv))) # no ties: survfit's
  whole <- survfit(Surv(time, event) ~ 1, d)
  brier <- function(p, t) {
    mean(ifelse(d$time > t, (1 - p)^2 / G(t, FALSE),
      ifelse(d$event == 1, p^2 / sapply(d$time, G, before = TRUE), 0)))
  }
  models <- references <- c()
  for (k in seq_along(at[[name]])) {
    t <- at[[name]][k]
    models[k] <- brier(S[, k], t)
    references[k] <- brier(rep(summary(whole, t)$surv, nrow(d)), t)
    add(name, paste0("brier_", k), models[k])
    add(name, paste0("reference_", k), references[k])
  }
  k <- 2:5
  area <- function(v) sum((v[k] + v[k - 1]) / 2 * diff(at[[name]])) / diff(range(at[[name]]))
  add(name, "integrated", area(models))
  add(name, "integrated_reference", area(references))
}
table <- do.call(rbind, rows)
table$value <- format(table$value, digits = 16, trim = TRUE)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$survival <- as.character(packageVersion("survival"))
write.csv(table, "survival_predictions.csv", row.names = FALSE, quote = FALSE)
