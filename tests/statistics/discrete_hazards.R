# Oracle of discrete-time hazards and of the curves of a Cox model. Rscript discrete_hazards.R > discrete_hazards.csv
# R 4.2.2, survival as printed in the first line of the output
suppressMessages(library(survival))
data <- data.frame(
  id = 1:14,
  time = c(3, 5, 8, 12, 12, 14, 20, 24, 24, 30, 33, 36, 40, 47),
  event = c(1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0),
  age = c(52, 31, 47, 55, 29, 44, 38, 41, 58, 33, 49, 27, 36, 30),
  score = c(0.4, 0.1, 1.2, -0.3, 0.8, 0.9, -1.1, 0.2, -0.6, 0.3, -0.9, 0.5, -0.2, -0.7)
)
edges <- c(0, 12, 24, 36, 48)
# person-period rows: an event belongs to the interval (left, right] that holds it; who is censored has survived the
# intervals of which at least a half was seen
rows <- do.call(rbind, lapply(seq_len(nrow(data)), function(i) {
  do.call(rbind, lapply(seq_len(length(edges) - 1), function(j) {
    left <- edges[j]; right <- edges[j + 1]; t <- data$time[i]
    if (data$event[i] == 1 && t > left && t <= right) return(data.frame(id = i, j = j, y = 1, age = data$age[i]))
    seen <- if (data$event[i] == 1) t > right else t >= (left + right) / 2
    if (seen) return(data.frame(id = i, j = j, y = 0, age = data$age[i]))
    NULL
  }))
}))
show <- function(what, model, i, j, value) cat(what, model, i, j, sprintf("%.12g", value), sep = ",", fill = FALSE)
line <- function(...) { show(...); cat("\n") }
cat(sprintf("# R %s.%s, survival %s\n", R.version$major, R.version$minor, packageVersion("survival")))
cat("what,model,id,place,value\n")
for (i in seq_len(nrow(data))) for (name in c("time", "event", "age", "score")) line(name, "data", data$id[i], 0, data[i, name])
for (link in c("logit", "cloglog")) {
  fit <- glm(y ~ 0 + factor(j) + age, binomial(link), rows, control = glm.control(epsilon = 1e-14, maxit = 100))
  line("log_likelihood", link, 0, 0, as.numeric(logLik(fit)))
  for (i in seq_len(nrow(data))) for (j in 1:4)
    line("hazard", link, i, j, predict(fit, data.frame(j = j, age = data$age[i]), type = "response"))
}
for (ties in c("efron", "breslow")) {
  fit <- coxph(Surv(time, event) ~ age, data, ties = ties, control = coxph.control(eps = 1e-11, iter.max = 100))
  for (age in c(30, 50)) for (at in c(2, 12, 13, 24, 40, 60)) {
    curve <- survfit(fit, data.frame(age = age))
    line("survival", ties, age, at, summary(curve, times = at, extend = TRUE)$surv)
  }
}
# what the score adds to age: likelihood-ratio test
for (ties in c("efron", "breslow")) {
  base <- coxph(Surv(time, event) ~ age, data, ties = ties)
  full <- coxph(Surv(time, event) ~ age + score, data, ties = ties)
  line("statistic", ties, 0, 0, anova(base, full)[2, "Chisq"])
  line("p", ties, 0, 0, anova(base, full)[2, "Pr(>|Chi|)"])
  line("coefficient", ties, 0, 0, coef(full)[["score"]])
}
