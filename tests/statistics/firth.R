# Oracle of test_cox_firth.py: Firth's penalised partial likelihood with Efron's and Breslow's ties, its estimate, profile
# limits and likelihood-ratio p. survival gives the log-likelihood and the information at any beta (coxph with 0 steps); optim
# and uniroot do the rest. Run in this folder: Rscript firth.R. Whole-number arithmetic, so that Python makes the same data.
suppressMessages(library(survival))
i <- 0:59
data <- list(
  empty = data.frame(time = (i * i * 3 + 5 * i) %% 17 + 1, arm = i %% 2, age = (i * 13) %% 31 / 10),
  few = data.frame(time = (i * 7) %% 12 + 1, arm = as.numeric(i %% 3 == 0), age = (i * i) %% 23 / 10)
)
data$empty$event <- as.numeric((i * 7) %% 5 < 3 & i %% 2 == 0)
data$few$event <- as.numeric((i * 11) %% 13 < 3)
rows <- list()
for (name in names(data)) for (ties in c("efron", "breslow")) {
  d <- data[[name]]
  penalised <- function(beta) {
    fit <- suppressWarnings(coxph(Surv(time, event) ~ arm + age, d, ties = ties, init = beta, iter.max = 0))
    fit$loglik[2] - 0.5 * as.numeric(determinant(fit$var)$modulus)
  }
  best <- optim(c(0, 0), function(b) -penalised(b), method = "BFGS", control = list(reltol = 1e-15, maxit = 500))
  best <- optim(best$par, function(b) -penalised(b), method = "Nelder-Mead", control = list(reltol = 1e-15, maxit = 2000))
  for (k in 1:2) {
    profile <- function(value) {
      inner <- function(other) { b <- c(0, 0); b[k] <- value; b[3 - k] <- other; penalised(b) }
      optimize(inner, c(-8, 8), maximum = TRUE, tol = 1e-10)$objective
    }
    gap <- function(value) profile(value) + best$value + qchisq(0.95, 1) / 2
    low <- uniroot(gap, c(best$par[k] - 9, best$par[k]), tol = 1e-9)$root
    high <- uniroot(gap, c(best$par[k], best$par[k] + 6), tol = 1e-9)$root
    p <- pchisq(2 * (-best$value - profile(0)), 1, lower.tail = FALSE)
    rows[[length(rows) + 1]] <- data.frame(
      set = name, ties = ties, term = c("arm", "age")[k], coefficient = best$par[k], low = low, high = high, p = p,
      log_likelihood = -best$value
    )
  }
}
table <- do.call(rbind, rows)
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$survival <- as.character(packageVersion("survival"))
write.csv(format(table, digits = 12), "firth.csv", row.names = FALSE, quote = FALSE)
