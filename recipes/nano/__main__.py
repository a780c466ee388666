"""`python -m recipes.nano STAGE`: data, train, drafter, evaluate."""

import argparse
from pathlib import Path


def main() -> None:
    """Runs one stage."""
    parser = argparse.ArgumentParser(prog="python -m recipes.nano", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    data = stages.add_parser("data", help="make the tokenizer and the training text")
    data.add_argument("--out", type=Path, default=Path("build/nano"))
    data.add_argument("--seed", type=int, default=4)
    data.add_argument("--scale", type=float, default=1.0, help="share of the tokens to make")
    training = stages.add_parser("train", help="train the model on the data and put it into the package")
    training.add_argument(
        "--out", type=Path, default=Path("build/nano"), help="folder that the data stage wrote"
    )
    training.add_argument("--minutes", type=float, default=75.0, help="how long; learning rates follow")
    training.add_argument("--smoke", action="store_true", help="15 minutes, and the packaged model stays")
    training.add_argument("--resume", action="store_true", help="go on from the last saved state")
    training.add_argument("--seed", type=int, default=4)
    training.add_argument("--device", default="cpu", help="cpu, or cuda:0 where there is one")
    training.add_argument(
        "--eager", action="store_true", help="without torch.compile, which needs a C++ compiler"
    )
    senses = stages.add_parser("senses", help="teach the trained model to see and hear")
    senses.add_argument("--out", type=Path, default=Path("build/nano"), help="folder of the train stage")
    senses.add_argument("--minutes", type=float, default=85.0, help="how long; learning rates follow")
    senses.add_argument("--smoke", action="store_true", help="5 minutes, and the packaged model stays")
    senses.add_argument("--resume", action="store_true", help="go on from the last saved state")
    senses.add_argument("--seed", type=int, default=4)
    senses.add_argument("--device", default="cpu", help="cpu, or cuda:0 where there is one")
    senses.add_argument("--eager", action="store_true", help="without torch.compile")
    drafting = stages.add_parser("drafter", help="train a drafter for the model")
    drafting.add_argument(
        "--out", type=Path, default=Path("build/nano"), help="folder that the data stage wrote"
    )
    drafting.add_argument("--model", default="nano", help="nano for the packaged one, or its folder")
    drafting.add_argument("--minutes", type=float, default=8.0, help="how long; learning rates follow")
    drafting.add_argument("--smoke", action="store_true", help="20 updates, and none is packaged")
    drafting.add_argument("--resume", action="store_true", help="go on from the last saved state")
    drafting.add_argument("--seed", type=int, default=4)
    evaluation = stages.add_parser("evaluate", help="measure a model on the held-out cases")
    evaluation.add_argument(
        "model", nargs="?", default="nano", help="a model's folder, or nano for the packaged one"
    )
    evaluation.add_argument("--cases", type=int, default=100, help="cases a task")
    evaluation.add_argument("--scores", type=Path, help="write the scores to this JSON file")
    evaluation.add_argument("--failures", type=Path, help="write the cases that went wrong to this JSON file")
    evaluation.add_argument("--only", nargs="*", default=[], metavar="TASK", help="only these tasks")
    args = parser.parse_args()
    if args.stage == "data":
        from recipes.nano.build_data import build_data

        build_data(args.out, args.seed, args.scale)
    if args.stage in ("train", "senses", "drafter"):
        import torch

        torch.set_flush_denormal(True)  # of the whole process: numbers next to nothing slow a CPU down
    if args.stage == "train":
        from recipes.nano.train import TrainCommand, train

        train(
            TrainCommand(
                folder=args.out,
                minutes=15.0 if args.smoke else args.minutes,
                seed=args.seed,
                device=args.device,
                compiled=not args.eager,
                resume=args.resume,
                package=not args.smoke,
            )
        )
    if args.stage == "senses":
        from recipes.nano.senses import teach
        from recipes.nano.train import TrainCommand

        teach(
            TrainCommand(
                folder=args.out,
                minutes=5.0 if args.smoke else args.minutes,
                seed=args.seed,
                device=args.device,
                compiled=not args.eager,
                resume=args.resume,
                package=not args.smoke,
            )
        )
    if args.stage == "drafter":
        from recipes.nano.drafter import DrafterCommand, train_drafter

        train_drafter(
            DrafterCommand(
                folder=args.out,
                model=args.model,
                minutes=args.minutes,
                seed=args.seed,
                resume=args.resume,
                package=not args.smoke,
                steps=20 if args.smoke else None,
            )
        )
    if args.stage == "evaluate":
        from recipes.nano.evaluate import evaluate

        evaluate(args.model, args.cases, args.scores, args.failures, tuple(args.only))


if __name__ == "__main__":
    main()
